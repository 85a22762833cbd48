"""From a cell to its row, to the file that is not measured twice, to the report."""

import json
from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np
import pytest

from attacks import matrix, observation, report, rounds, words
from attacks.cells import Cell
from attacks.measure import measure
from attacks.methods import find
from attacks.pictures import take
from attacks.row import COLUMNS, Row, describe
from federation.errors import ConfigError
from tests.attacks.victims import SIZE

QUICK = Cell(image_size=SIZE, images=2, steps=2, restarts=1)


def test_a_cell_is_measured_once_and_every_column_is_written(tmp_path: Path) -> None:
    todo = [QUICK, replace(QUICK, attack="dlg")]
    rows = matrix.run_all(todo, tmp_path, jobs=1)
    assert rows[0].psnr_median is not None and rows[0].control_psnr is not None
    assert rows[0].label_accuracy is None
    assert "every layer" in rows[1].note and rows[1].psnr_median is None
    path = tmp_path / "cells" / f"{QUICK.key}.json"
    path.write_text(path.read_text().replace('"note":""', '"note":"kept"'))
    assert matrix.run_all(todo, tmp_path, jobs=1)[0].note == "kept"

    page = report.write(tmp_path, todo, rows, [], "A test.").read_text()
    assert "the mean image of comparable data" in page and "recognisable" in page
    assert "Cannot be tried" in page and (tmp_path / "pictures" / f"{QUICK.key}.png").exists()
    lines = (tmp_path / "cells.csv").read_text().splitlines()
    assert lines[0] == ",".join(COLUMNS) and len(lines) == 3


def test_only_the_cells_that_are_missing_are_run_and_told(tmp_path: Path) -> None:
    refused = replace(QUICK, attack="dlg")
    kept = msgspec.structs.replace(describe(QUICK, None), note="kept")
    (tmp_path / "cells").mkdir()
    (tmp_path / "cells" / f"{QUICK.key}.json").write_bytes(msgspec.json.encode(kept))
    told: list[tuple[int, int, str]] = []
    rows = matrix.run_all(
        [QUICK, refused],
        tmp_path,
        jobs=1,
        told=lambda done, of, row: told.append((done, of, row.attack)),
    )
    assert told == [(2, 2, "dlg")]
    assert [row.attack for row in rows] == ["varpro", "dlg"]


def test_a_damaged_cell_is_named_and_not_run_over(tmp_path: Path) -> None:
    (tmp_path / "cells").mkdir()
    path = tmp_path / "cells" / f"{QUICK.key}.json"
    path.write_text('{"attack": 7}')
    with pytest.raises(ConfigError, match=f"{QUICK.key}.json: holds no row .* delete it"):
        matrix.run_all([QUICK], tmp_path, jobs=1)


def test_an_unknown_attack_or_model_ends_before_anything_is_played() -> None:
    with pytest.raises(ValueError, match="no attack is called 'magic'"):
        measure(replace(QUICK, attack="magic"))


@pytest.mark.parametrize(
    "cell",
    [
        replace(QUICK, protection="masked", cohort=2, adversary=observation.COLLUDING),
        replace(QUICK, protection="ckks", cohort=2),
        replace(QUICK, attack="imprint", adversary=observation.UNCHECKED),
        replace(QUICK, attack="membership", batch=2),
        replace(QUICK, attack="label_distribution", algorithm="fedavg", cut=0),
        replace(QUICK, attack="proxy_head", adversary=observation.COLLUDING, state=1),
        replace(QUICK, noise=0.1, cut=2),
        replace(QUICK, bits=12),
        replace(
            QUICK,
            model="resnet18",
            batch=2,
            frozen=True,
            attack="inverting_gradients",
            algorithm="fedavg",
            cut=0,
            steps=1,
        ),
    ],
    ids=lambda cell: f"{cell.attack}-{cell.protection}-{cell.model}",
)
def test_every_kind_of_cell_gives_a_row_and_a_sentence(cell: Cell) -> None:
    row, _ = measure(cell)
    assert row.measured and (row.note == "" or row.chance is not None)
    assert (row.dp_epsilon is None) == (cell.noise is None)
    assert row.bits == cell.coded_bits
    assert words.sentence(row).endswith(".")
    assert words.verdict(row) in ("leaks", "partly", "nothing", "holds")


def test_a_lie_that_an_attack_has_no_layers_for_is_a_row_without_figures() -> None:
    row, panel = measure(replace(QUICK, adversary=observation.UNCHECKED))
    assert not row.measured and panel is None
    assert words.sentence(row) == (
        "Cannot be tried: attack varpro plants no layers of its own in the model."
    )
    assert words.verdict(row) == "n/a"


def test_one_colluder_of_two_leaves_the_other_hospitals_own_update() -> None:
    cell = replace(QUICK, protection="masked", cohort=2, adversary=observation.COLLUDING)
    shown = take(cell.dataset, rounds.enough(cell), image_size=SIZE)
    varpro = find("varpro")
    trials, _ = rounds.prepare(varpro, cell, shown)
    open_cell = replace(cell, protection="plain", bits=12, adversary=observation.CURIOUS)
    alone, _ = rounds.prepare(varpro, open_cell, shown)
    mine = trials[0].truth.images
    own = next(t for t in alone if np.array_equal(t.truth.images, mine))
    assert trials[0].observation.summed == 1
    for name, value in own.observation.readable.items():
        np.testing.assert_allclose(
            trials[0].observation.readable[name], value, atol=4 * 0.25 / 2**11
        )


def test_a_rounds_size_follows_from_what_hides_a_hospital() -> None:
    assert rounds.hospitals(replace(QUICK, images=8, batch=2)) == 4
    assert rounds.hospitals(replace(QUICK, images=1)) == 2
    assert rounds.hospitals(replace(QUICK, protection="masked", cohort=5)) == 5
    assert rounds.enough(replace(QUICK, protection="masked", cohort=5)) == 10


def test_a_row_survives_its_file_and_a_damaged_one_does_not() -> None:
    row = describe(QUICK, None)
    again = msgspec.json.decode(msgspec.json.encode(row), type=Row)
    assert again == row and not again.measured and again.gain == float("-inf")
    with pytest.raises(msgspec.ValidationError):
        msgspec.json.decode(json.dumps({"attack": "dlg"}), type=Row)
