"""An attack added here, as one file and one line, is in the matrix, the report and the command."""

import ast
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

import attacks
from attacks import cells, matrix, protected, report
from attacks.cells import Cell
from attacks.command import attack_app
from attacks.methods import ATTACKS, Attack, Reconstruction, Settled
from attacks.methods._attack import Finding
from attacks.observation import Case
from tests.attacks.victims import SIZE

BASE = Cell(image_size=SIZE, images=2, steps=1)


def grey(cases: Sequence[Case], settings: Settled) -> Reconstruction:
    """Guesses mid-grey, whatever was seen."""
    seen = cases[0].observation
    shape = (len(cases), cases[0].images, seen.channels, seen.image_size, seen.image_size)
    return Reconstruction(steps=settings.steps, seconds=0.0, images=np.full(shape, 0.5))


MINE = Attack(
    "mine",
    "a guess that looks at nothing",
    "Nobody 2026",
    frozenset({"update"}),
    Reconstruction,
    grey,
    cells=({"batch": 2},),
    cells_per_model=({},),
    finding=Finding("Mid-grey reaches {psnr_median:.0f} dB."),
)


@pytest.fixture
def mine(monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setitem(ATTACKS, MINE.name, MINE)
    return MINE.name


def test_a_new_attack_is_in_matrix_and_report(mine: str, tmp_path: Path) -> None:
    found = [BASE, *(cell for cell in cells.default(BASE, ("cnn3",)) if cell.attack == mine)]
    assert [(cell.model, cell.batch) for cell in found[1:]] == [("lenet-dlg", 2), ("cnn3", 1)]
    rows = matrix.run_all(found, tmp_path, jobs=1)
    assert all(row.measured and row.note == "" for row in rows)
    page = report.write(tmp_path, found, rows, [], "A test.").read_text()
    assert page.count(MINE.title) >= 2 and "Mid-grey reaches" in page


def test_a_new_attack_is_listed_and_runs_on_a_recorded_round(
    mine: str, recorded: Path, tmp_path: Path
) -> None:
    listed = CliRunner().invoke(attack_app, ["list", "--json"], catch_exceptions=False)
    [entry] = [one for one in json.loads(listed.output) if one["name"] == mine]
    assert entry["title"] == MINE.title and entry["paper"] == "Nobody 2026"
    words = ["run", "--run", str(recorded), "--attack", mine, "--out", str(tmp_path)]
    done = CliRunner().invoke(attack_app, words, catch_exceptions=False)
    assert done.exit_code == 0 and len(list(tmp_path.glob("*.png"))) == 3


def test_an_attack_without_cells_of_its_own_gets_the_base_cell(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    other = Attack("other", "", "", frozenset(), Reconstruction, grey)
    monkeypatch.setitem(ATTACKS, "other", other)
    assert replace(BASE, attack="other") in cells.default(BASE)


def compared(path: Path) -> set[str]:
    """Every string that this file compares something with, or looks for in a tuple of strings."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Compare):
            for part in ast.walk(node):
                if isinstance(part, ast.Constant) and isinstance(part.value, str):
                    found.add(part.value)
        if isinstance(node, ast.MatchValue) and isinstance(node.value, ast.Constant):
            found.add(str(node.value.value))
    return found


def test_no_file_asks_for_the_name_of_an_attack_or_of_a_protection() -> None:
    names = {*ATTACKS, *protected.names()}
    for path in sorted(Path(attacks.__path__[0]).rglob("*.py")):
        assert not compared(path) & names, path
