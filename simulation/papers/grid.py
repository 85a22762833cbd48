"""A study's results at one scale, and what several views ask of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from learning.metrics import wilson
from simulation.papers.paper import COLUMNS, FRAMEWORKS
from simulation.papers.studies import Scale, Study
from simulation.papers.tables import PaperTable, PlusMinus, proportion
from simulation.papers.train import Result


@dataclass(frozen=True)
class Picture:
    name: str
    title: str
    png: bytes


Block = PaperTable | Picture
SOURCES = (
    "Class and source are confounded in this data set: some sources hold one class only, and there"
    " a model that knows the source is right throughout. In brackets the 95 % interval of a"
    " proportion (Wilson); images: of one seed."
)


@dataclass(frozen=True)
class Grid:
    """A study's results at one scale, by framework and model, one entry a seed."""

    study: Study
    scale: Scale
    results: Sequence[Result]

    def of(self, framework: str, model: str) -> list[dict[str, Any]]:
        return [
            one.figures
            for one in self.results
            if (one.run.framework, one.run.model) == (framework, model)
        ]

    def first(self, framework: str, model: str) -> Result:
        return next(
            one for one in self.results if (one.run.framework, one.run.model) == (framework, model)
        )

    @property
    def models(self) -> list[str]:
        there = {one.run.model for one in self.results}
        return [model for model in self.scale.models if model in there]

    def curves(self, framework: str, model: str, key: str) -> list[list[float]]:
        """A line of values by round for every seed; a round in which nobody has one repeats the
        last.
        """
        lines = []
        for found in self.of(framework, model):
            line: list[float] = []
            for round_ in found["rounds"]:
                value = round_.get(key)
                line.append(value if value is not None else line[-1] if line else float("nan"))
            lines.append(line)
        return lines


def best(found: dict[str, Any]) -> tuple[float, int]:
    """The best local testing accuracy (mean over hospitals) and its round, from 1."""
    lines = [
        (line["accuracy"], line["round"])
        for line in found["rounds"]
        if line.get("accuracy") is not None
    ]
    top = max(value for value, _ in lines)
    return next((value, round_) for value, round_ in lines if value == top)


def right(scored: dict[str, Any]) -> int:
    return int(np.trace(np.array(scored["confusion"])))


def accuracy(found: Sequence[dict[str, Any]], part: str) -> PlusMinus | None:
    """All seeds' accuracy on a part, and half of its 95 % interval."""
    return proportion(
        sum(right(one[part]) for one in found),
        sum(one[part]["examples"] for one in found),
        len(found),
    )


def by_source(grid: Grid, part: str, where: str, frameworks: Sequence[str] = ()) -> list[Block]:
    """Accuracy by source, where the data set names sources: class and source may be confounded."""
    frameworks = frameworks or grid.study.frameworks
    sources = sorted(
        {source for one in grid.results for source in one.figures[part].get("per_source", {})}
    )
    if not sources:
        return []
    rows = []
    for source in sources:
        cells: list[str | None] = []
        images = 0
        for model in grid.models:
            for framework in frameworks:
                found = [
                    one[part]["per_source"].get(source, {"right": 0, "examples": 0})
                    for one in grid.of(framework, model)
                ]
                images = max([images, *(one["examples"] for one in found)])
                cells.append(
                    _interval(
                        sum(one["right"] for one in found),
                        sum(one["examples"] for one in found),
                        len(found),
                    )
                )
        rows.append((source, images, *cells))
    head = (
        "source",
        "images",
        *[
            f"{COLUMNS[model]} {FRAMEWORKS[framework]}"
            for model in grid.models
            for framework in frameworks
        ],
    )
    return [PaperTable(f"Accuracy by source, {where}, %", head, tuple(rows), SOURCES)]


def _interval(right: int, examples: int, seeds: int) -> str | None:
    """Percent and 95 % interval; Wilson's, because some sources have a handful of images."""
    if not examples:
        return None
    once = max(1, round(examples / seeds))
    low, high = wilson(round(right / examples * once), once)
    return f"{100 * right / examples:.0f} ({100 * low:.0f}–{100 * high:.0f})"


def majority_verdict(grid: Grid) -> str:
    """Whether every run beats the majority class by ten points, in one sentence."""
    margins = {}
    for one in grid.results:
        if grid.study.test_fraction:
            margin = best(one.figures)[0] - one.figures["majority"]
        else:
            test = np.array(one.figures["global_test"]["confusion"])
            margin = np.trace(test) / test.sum() - test.sum(axis=1).max() / test.sum()
        margins[
            f"{FRAMEWORKS[one.run.framework]} {COLUMNS[one.run.model]} (seed {one.run.seed})"
        ] = 100 * float(margin)
    low = [f"{name}: {margin:+.1f}" for name, margin in margins.items() if margin < 10]
    if not low:
        return (
            "Every run beats the majority class by at least 10 points (the least by"
            f" {min(margins.values()):.1f})."
        )
    return (
        f"{len(low)} of {len(margins)} runs do NOT beat the majority class by 10 points:"
        f" {'; '.join(low)}."
    )
