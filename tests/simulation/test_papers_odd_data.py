"""Hospitals as they are: one image, one class, none of a class, a damaged file, a colour image
among grey ones.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from federation.errors import ConfigError
from simulation.run.federate import Federation
from simulation.run.options import Options
from simulation.run.prepare import prepare
from tests.learning.data_files import manifest


def federation(root: Path, hospitals: int, **change: object) -> Federation:
    options = Options.of(
        data=str(root / "set"),
        image_size=28,
        algorithm="flop",
        protection="plain",
        hospitals=hospitals,
        rounds=2,
        batch_size=4,
        partition="by:site",
        transport="memory",
        baselines=False,
        out=root / "run",
        **change,
    )
    return Federation(prepare(options))


def test_odd_hospitals_take_part_and_what_cannot_be_read_is_named(tmp_path: Path) -> None:
    sites = {
        "a-single": ["sick"],
        "b-one-class": ["well"] * 5,
        "c-plain": ["sick", "well"] * 4,
        "d-damaged": ["sick", "well", "well"],
    }
    lines = [
        f"{site}-{n}.png,{label},{site}"
        for site, labels in sites.items()
        for n, label in enumerate(labels)
    ]
    manifest(tmp_path / "set", "file,class,site", *lines)
    (tmp_path / "set" / "d-damaged-1.png").write_bytes(b"not an image")
    Image.new("RGB", (40, 40), (200, 100, 50)).save(tmp_path / "set" / "c-plain-0.png")
    found = federation(tmp_path, 4)
    found.play()
    locals_ = found.divided.locals
    assert [len(one.train) + len(one.test) for one in locals_] == [1, 5, 8, 2]
    assert (
        locals_[0].images.shape[1:] == (1, 28, 28)
        and round(0.299 * 200 + 0.587 * 100 + 0.114 * 50) in locals_[0].images
    )
    assert [[one.split(":")[0] for one in local.skipped] for local in locals_] == [
        [],
        [],
        [],
        ["d-damaged-1.png"],
    ], "each hospital hears of its own images"
    assert found.run.completed == 2
    scores = [storage.metrics()[-1].metrics["accuracy"] for storage in found.storages]
    assert scores[0] is None and scores[1] is not None, (
        "a single image trains, and nothing is left to test on"
    )
    assert all(np.isfinite(one.session.shared.vector).all() for one in found.hospitals.values())


def test_a_hospital_of_which_nothing_can_be_read_is_refused_by_name(tmp_path: Path) -> None:
    manifest(
        tmp_path / "set",
        "file,class,site",
        *(f"{n}.png,{'ab'[n % 2]},{'north' if n < 9 else 'south'}" for n in range(10)),
    )
    (tmp_path / "set" / "9.png").write_bytes(b"not an image")
    with pytest.raises(ConfigError, match=r"hospital-2.*no image that can be read.*9\.png"):
        federation(tmp_path, 2, min_cohort=2)
