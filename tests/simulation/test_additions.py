"""A data format and a model are added by one file and one line each, and whole federations run."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import flop
from learning import data, models

NPY = "tests.learning.extra_format"
TINY = models.ModelSpec("tinybn", "tests.learning.extra_model:build", "one BatchNorm layer")


def test_a_new_format_is_one_file_and_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(data, "FORMATS", (data.FORMATS[0], NPY, *data.FORMATS[1:]))
    y = np.arange(45) % 2
    pixels = np.random.default_rng(0).integers(0, 100, (45, 28, 28)) + 150 * y[:, None, None]
    np.save(tmp_path / "x.npy", pixels.astype(np.uint8))
    run = flop.Federation(
        tmp_path / "x.npy",
        image_size=28,
        hospitals=3,
        rounds=1,
        baselines=False,
        out=tmp_path / "run",
    ).run()
    assert run.summary["classes"] == ["dark", "bright"] and run.accuracy is not None
    assert "npy" in [one.name for one in data.formats()]


def test_a_new_model_with_batchnorm_is_one_file_and_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(models.REGISTRY, TINY.name, TINY)
    assert models.has_batchnorm("tinybn") and not models.has_batchnorm("cnn3")
    run = flop.Federation(
        "phantom-cxr:60",
        "tinybn",
        image_size=28,
        hospitals=3,
        rounds=1,
        baselines=False,
        record=True,
        out=tmp_path / "run",
    ).run()
    assert {"body.1.running_mean", "body.0.weight"} <= set(run.shared)
    assert sorted(run.hospitals[0].private) == ["head.bias", "head.weight"]
    assert run.seen()[0].observation.buffers_after
