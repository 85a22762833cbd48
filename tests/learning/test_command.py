"""`flop models` and `flop data list`: everything that there is to choose from is named."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from learning import data, models
from learning.command import data_app, models_app

from .data_files import class_folders

RUN = CliRunner()


def test_every_model_is_listed_with_its_facts() -> None:
    rows = {row["name"]: row for row in json.loads(RUN.invoke(models_app, ["--json"]).output)}
    assert set(rows) == set(models.REGISTRY)
    for name, row in rows.items():
        assert row["about"] == models.REGISTRY[name].about
        assert row["parameters"] > row["private_parameters"] > 0
    assert rows["resnet18"]["batchnorm"] and not rows["vgg11"]["batchnorm"]
    assert rows["resnet18"]["private_parameters"] == 512 * 3 + 3
    shown = RUN.invoke(models_app, [], env={"COLUMNS": "200"}).output
    assert all(name in shown for name in models.REGISTRY) and "BatchNorm" in shown


def test_counting_a_model_draws_nothing_from_the_random_state() -> None:
    import torch

    before = torch.random.get_rng_state()
    models._count(models.spec("lenet-dlg"))
    assert torch.equal(before, torch.random.get_rng_state())


def test_the_data_sets_of_a_folder_are_listed_with_what_is_wrong(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class_folders(tmp_path / "chest", {"ill": 2, "well": 3})
    (tmp_path / "empty").mkdir()
    np.savez(tmp_path / "odd.npz", a=np.zeros(3))
    monkeypatch.setenv("FLOP_DATA", str(tmp_path))
    found = json.loads(RUN.invoke(data_app, ["list", "--json"]).output)
    assert [one["name"] for one in found["formats"]] == [one.name for one in data.formats()]
    chest, empty, odd = found["sets"]
    assert (chest["format"], chest["images"], chest["classes"]) == ("folder", 5, ["ill", "well"])
    assert "empty folder" in empty["problem"] and "it holds: a" in odd["problem"]
    shown = RUN.invoke(data_app, ["list"]).output
    assert "phantom-cxr: drawn" in shown and "chest: folder, 5 images" in shown


def test_without_flop_data_the_built_in_sets_are_listed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FLOP_DATA", raising=False)
    shown = RUN.invoke(data_app, ["list"]).output
    assert "phantom-cxr" in shown and "names no folder" in shown


def test_names_and_abouts_do_not_need_torch() -> None:
    code = (
        "import sys, learning.models, learning.command;"
        "assert 'torch' not in sys.modules; print(len(learning.models.REGISTRY))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert int(done.stdout) == len(models.REGISTRY)
