"""Tables that are written twice: as Markdown for people and as CSV for programs."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from learning.metrics import normal_half_width


@dataclass(frozen=True)
class PlusMinus:
    """A figure in percent and what stands behind its ±; None: one seed has no spread."""

    value: float
    spread: float | None = None

    def __str__(self) -> str:
        return (
            f"{self.value:.2f}" if self.spread is None else f"{self.value:.2f} ± {self.spread:.2f}"
        )


Cell = str | int | float | PlusMinus | None


@dataclass(frozen=True)
class PaperTable:
    """`rows` have as many cells as `head`. `note` stands below."""

    title: str
    head: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    note: str = ""

    def texts(self) -> list[list[str]]:
        return [[text(cell) for cell in row] for row in self.rows]

    def markdown(self) -> str:
        lines = [
            f"**{self.title}**",
            "",
            "| " + " | ".join(self.head) + " |",
            "|" + " --- |" * len(self.head),
        ]
        lines += ["| " + " | ".join(cells) + " |" for cells in self.texts()]
        return "\n".join([*lines, "", *([self.note, ""] if self.note else [])])

    def csv(self) -> str:
        """A figure with a spread takes two columns, the second named `... ±`."""
        wide = [
            any(isinstance(row[at], PlusMinus) for row in self.rows) for at in range(len(self.head))
        ]
        out = io.StringIO()
        writer = csv.writer(out, lineterminator="\n")
        writer.writerow(
            [
                name
                for at, head in enumerate(self.head)
                for name in ([head, f"{head} ±"] if wide[at] else [head])
            ]
        )
        for row in self.rows:
            writer.writerow(
                [value for at, cell in enumerate(row) for value in _values(cell, wide[at])]
            )
        return out.getvalue()


def text(cell: Cell) -> str:
    if cell is None:
        return "–"
    return f"{cell:.2f}" if isinstance(cell, float) else str(cell)


def _values(cell: Cell, wide: bool) -> list[str]:
    if isinstance(cell, PlusMinus):
        return [f"{cell.value:.4f}", "" if cell.spread is None else f"{cell.spread:.4f}"]
    plain = "" if cell is None else f"{cell:.4f}" if isinstance(cell, float) else str(cell)
    return [plain, ""] if wide else [plain]


def over_seeds(fractions: Sequence[float | None]) -> PlusMinus | None:
    """Mean and standard deviation (of a sample) in percent, as the FLOP paper reports."""
    known = [100 * value for value in fractions if value is not None]
    if not known:
        return None
    return PlusMinus(
        float(np.mean(known)), float(np.std(known, ddof=1)) if len(known) > 1 else None
    )


def proportion(right: int, examples: int, seeds: int = 1) -> PlusMinus | None:
    """Percent and half of its 95 % interval, as the FedAvg paper reports.

    `right` and `examples` may be sums over `seeds`: these test the same images again, so the
    interval is that of one seed's images.
    """
    if not examples:
        return None
    share = right / examples
    return PlusMinus(100 * share, 100 * normal_half_width(share, max(1, round(examples / seeds))))
