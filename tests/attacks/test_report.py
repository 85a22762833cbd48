"""The report's page and table, from rows made by hand."""

import csv
from dataclasses import replace as changed
from pathlib import Path

import numpy as np
import pytest
from msgspec.structs import replace

from attacks import report
from attacks.cells import Cell
from attacks.gates import Gate
from attacks.observation import OTHER_LAYERS
from attacks.row import COLUMNS, Row, describe

FIGURES = {
    "steps": 7,
    "seconds": 0.5,
    "psnr_q1": 29.0,
    "psnr_median": 31.4,
    "psnr_q3": 33.0,
    "ssim_median": 0.9,
    "ncc_median": 0.8,
    "identifiability": 1.0,
    "success_rate": 1.0,
    "control_psnr": 15.6,
    "control_grey": 12.3,
}
CELLS = [
    Cell(),
    Cell(noise=0.1),
    Cell(attack="imprint", adversary=OTHER_LAYERS, protection="masked"),
    Cell(attack="membership", batch=4),
]


def rows() -> list[Row]:
    leaks, noisy, lied, inferred = (describe(c, 4.25 if c.noise else None) for c in CELLS)
    return [
        replace(leaks, **FIGURES),
        replace(noisy, **FIGURES),
        replace(lied, refused=True, note="the hospitals refuse it: other layers"),
        replace(inferred, steps=1, seconds=0.1, identifiability=0.75, chance=0.5),
    ]


@pytest.fixture
def out(tmp_path: Path) -> Path:
    (tmp_path / "cells").mkdir()
    some = np.full((2, 1, 8, 8), 0.5, np.float16)
    np.savez_compressed(tmp_path / "cells" / f"{CELLS[0].key}.npz", truth=some, found=some)
    return tmp_path


def page(out: Path, *gates: Gate) -> str:
    return report.write(out, CELLS, rows(), gates, "Four cells.").read_text()


def test_every_row_is_told_with_its_verdict(out: Path) -> None:
    said = page(out)
    for text in ("recognisable: 100 %", "The hospitals refuse it", "in 75 % of pairs"):
        assert text in said
    assert said.count('<span class="pill bad">leaks</span>') >= 3  # legend and two rows
    assert '<span class="pill good">holds</span>' in said


def test_noise_is_shown_with_what_it_is_worth(out: Path) -> None:
    assert "ε = 4.25" in page(out)


def test_a_page_needs_no_other_file(out: Path) -> None:
    said = page(out)
    assert "data:image/png;base64," in said
    assert "<link" not in said and "http" not in said and 'src="pictures' not in said


def test_the_pictures_also_lie_beside_the_page(out: Path) -> None:
    page(out)
    names = {path.name for path in (out / "pictures").iterdir()}
    assert names == {f"{CELLS[0].key}.png", "curve-noise.png"}


def test_gates_are_told_only_if_they_were_run(out: Path) -> None:
    assert "Can these attacks be trusted?" not in page(out)
    said = page(out, Gate("strong", 50.0, 40.0, "dB", True, "20 images", 1.0))
    assert "Can these attacks be trusted?" in said and "strong" in said and "passed" in said


def test_only_the_controls_that_were_made_are_named(out: Path) -> None:
    said = page(out)
    assert "mid-grey" in said and "the same attack on another hospital" not in said


def test_what_does_not_apply_is_empty_in_the_table(out: Path) -> None:
    page(out)
    table = list(csv.DictReader((out / "cells.csv").read_text().splitlines()))
    assert tuple(table[0]) == COLUMNS and len(table) == len(CELLS)
    assert table[0]["psnr_median"] == "31.4" and table[0]["label_accuracy"] == ""
    assert [one["dp_epsilon"] for one in table] == ["", "4.25", "", ""]


def test_a_protections_bits_are_in_the_table(out: Path) -> None:
    page(out)
    table = list(csv.DictReader((out / "cells.csv").read_text().splitlines()))
    assert [one["bits"] for one in table] == ["0", "0", "12", "0"]
    assert changed(CELLS[0], bits=8).coded_bits == 8
