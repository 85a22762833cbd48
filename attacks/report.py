"""`report.html`, `cells.csv` and the pictures of a leakage matrix."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from attacks import drawing, words
from attacks.cells import Cell
from attacks.gates import Gate
from attacks.kinds._kind import HOLDS, LEAKS, NOT_TRIED, NOTHING, PARTLY
from attacks.kinds.images import CLEAR
from attacks.methods import find
from attacks.row import COLUMNS, Row
from federation.files import write_whole
from simulation.report import kit

GUESSES = {
    "control_grey": "mid-grey, without looking at anything",
    "control_mean": "the mean image of comparable data",
    "control_unrelated": "the same attack on another hospital's update",
}

COLOURS = {LEAKS: "bad", PARTLY: "warn", NOTHING: "fair", HOLDS: "good", NOT_TRIED: "plain"}
"""The page kit's colour of each verdict."""


def write(
    out: Path, cells: Sequence[Cell], rows: Sequence[Row], gates: Sequence[Gate], about: str
) -> Path:
    """Write cells.csv, pictures/*.png and report.html into `out`.

    Args:
        out: The run directory, where `matrix.run_all` left the cells.
        cells: The cells, the base cell first.
        rows: The row of each cell.
        gates: The benchmark's own gates, if they were run.
        about: One sentence on data, size and seed.

    Returns:
        The path of report.html.
    """
    _write_csv(out / "cells.csv", rows)
    pictures = out / "pictures"
    pictures.mkdir(exist_ok=True)
    shown = [
        {
            "row": row,
            "what": words.setting(cell),
            "method": find(cell.attack).title,
            "theme": words.theme(cell),
            "sentence": words.sentence(row),
            "verdict": words.verdict(row),
            "panel": _kept(
                pictures / f"{cell.key}.png", drawing.panel(out / "cells" / f"{cell.key}.npz")
            ),
        }
        for cell, row in zip(cells, rows, strict=True)
    ]
    curves = [
        (axis.label, _kept(pictures / f"curve-{axis.field}.png", drawing.curve(cells, rows, axis)))
        for axis in drawing.AXES
    ]
    guesses = [(said, getattr(rows[0], name)) for name, said in GUESSES.items()]
    page = kit.render(
        "report.html",
        Path(__file__).parent,
        title="What the coordinator can reconstruct",
        kind="Leakage matrix",
        themes=[(name, [r for r in shown if r["theme"] == name]) for name in words.THEMES],
        guesses=[(said, f"{figure:.1f}") for said, figure in guesses if figure is not None],
        gates=[asdict(gate) for gate in gates],
        curves=[(label, source) for label, source in curves if source],
        about=about,
        headline=words.headline(rows),
        clear=CLEAR,
        colours=COLOURS,
    )
    write_whole(out / "report.html", page)
    return out / "report.html"


def _kept(path: Path, png: bytes | None) -> str:
    """Write the picture beside the page, for who wants to use it elsewhere; return its `src`."""
    if png is not None:
        path.write_bytes(png)
    return kit.embedded(png)


def _write_csv(path: Path, rows: Sequence[Row]) -> None:
    """What does not apply is empty."""
    with path.open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(COLUMNS)
        for row in rows:
            values = [getattr(row, name) for name in COLUMNS]
            table.writerow("" if value is None else value for value in values)
