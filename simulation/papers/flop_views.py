"""The FLOP paper's tables and figures."""

from __future__ import annotations

import numpy as np

from simulation.papers import figures, paper
from simulation.papers.grid import Block, Grid, Picture, accuracy, best, by_source
from simulation.papers.paper import COLUMNS, FRAMEWORKS
from simulation.papers.tables import PaperTable, over_seeds

MAJORITY = (
    "Majority class: what each hospital would get by always saying its own commonest training"
    " class."
)


def local_table(name: str, grid: Grid) -> list[Block]:
    """Tables 1, 3, 5, 7: best local testing accuracy, mean and standard deviation over seeds."""
    rows = []
    for model in grid.models:
        for framework in grid.study.frameworks:
            found = grid.of(framework, model)
            tops = [best(one) for one in found]
            images = accuracy(found, "local_test")
            rows.append(
                (
                    COLUMNS[model],
                    FRAMEWORKS[framework],
                    over_seeds([value for value, _ in tops]),
                    ", ".join(str(at) for _, at in tops),
                    over_seeds([one["rounds"][-1]["accuracy"] for one in found]),
                    images and images.spread,
                    over_seeds([one["local_test"]["balanced_accuracy"] for one in found]),
                    over_seeds([one["majority"] for one in found]),
                    len(found),
                    paper.TABLES[name].get((framework, model)),
                )
            )
    head = (
        "model",
        "framework",
        "best local accuracy %",
        "in round",
        "last round %",
        "95 % interval ±",
        "balanced %",
        "majority class %",
        "seeds",
        "paper %",
    )
    note = (
        "Mean over the hospitals; ± is the standard deviation over seeds, the 95 % interval that of"
        " the test images (last round). "
    )
    note += MAJORITY + " "
    note += paper.WORDS.get(name, "")
    return [
        PaperTable("Local testing accuracy", head, tuple(rows), note.strip()),
        *by_source(grid, "local_test", "local tests"),
    ]


def global_table(name: str, grid: Grid) -> list[Block]:
    """Tables 2, 4, 6, 8: the mean of all hospitals' full models on the test folder."""
    rows = []
    for model in grid.models:
        for framework in grid.study.frameworks:
            images = accuracy(grid.of(framework, model), "global_test")
            found = [one["global_test"] for one in grid.of(framework, model)]
            interval = (
                f"{images.value - images.spread:.1f} to {images.value + images.spread:.1f}"
                if images and images.spread
                else None
            )
            rows.append(
                (
                    COLUMNS[model],
                    FRAMEWORKS[framework],
                    over_seeds([one["accuracy"] for one in found]),
                    interval,
                    over_seeds([one["balanced_accuracy"] for one in found]),
                    over_seeds([one["auroc"] for one in found]),
                    len(found),
                    paper.TABLES[name].get((framework, model)),
                )
            )
    head = (
        "model",
        "framework",
        "global accuracy %",
        "95 % interval of the images",
        "balanced %",
        "AUROC %",
        "seeds",
        "paper %",
    )
    note = (
        "The mean of all hospitals' full models after the last round, on the test folder. "
        + paper.WORDS.get(name, "")
    )
    return [
        PaperTable("Global testing accuracy", head, tuple(rows), note.strip()),
        *by_source(grid, "global_test", "test folder"),
    ]


def loss_panels(name: str, grid: Grid) -> list[Block]:
    """Figures 2, 5, 6, 7: mean local testing loss, FedAvg against FLOP, a panel for each model."""
    panels = {
        COLUMNS[model]: {
            FRAMEWORKS[framework]: grid.curves(framework, model, "test_loss")
            for framework in grid.study.frameworks
        }
        for model in grid.models
    }
    colours = {FRAMEWORKS[framework]: colour for framework, colour in figures.COLOURS.items()}
    rows = []
    for model in grid.models:
        for framework in grid.study.frameworks:
            lines = np.array(grid.curves(framework, model, "test_loss"))
            jumps = np.abs(np.diff(lines, axis=1)).mean() if lines.shape[1] > 1 else None
            found = grid.of(framework, model)
            images = accuracy(found, "local_test")
            rows.append(
                (
                    COLUMNS[model],
                    FRAMEWORKS[framework],
                    float(lines[:, -1].mean()),
                    float(lines.min(axis=1).mean()),
                    None if jumps is None else float(jumps),
                    over_seeds([best(one)[0] for one in found]),
                    over_seeds([one["rounds"][-1]["accuracy"] for one in found]),
                    images and images.spread,
                    over_seeds([one["majority"] for one in found]),
                )
            )
    head = (
        "model",
        "framework",
        "last loss",
        "lowest loss",
        "mean change a round",
        "best local accuracy %",
        "last round %",
        "95 % interval ±",
        "majority class %",
    )
    note = "A smaller mean change a round is a steadier curve. " + MAJORITY
    return [
        Picture(
            "loss",
            "Local testing loss by round",
            figures.curves(panels, "local testing loss", colours),
        ),
        PaperTable("Local testing loss", head, tuple(rows), note),
    ]


def loss_together(name: str, grid: Grid) -> list[Block]:
    """Figure 3: all models in one panel for each framework."""
    panels = {
        FRAMEWORKS[framework]: {
            COLUMNS[model]: grid.curves(framework, model, "test_loss") for model in grid.models
        }
        for framework in grid.study.frameworks
    }
    return [
        Picture(
            "loss", "Local testing loss, all models", figures.curves(panels, "local testing loss")
        )
    ]


def local_confusions(name: str, grid: Grid) -> list[Block]:
    """Figure 4: all hospitals' local tests of the last round, all seeds together."""
    panels = {
        f"{COLUMNS[model]}, {FRAMEWORKS[framework]}": np.sum(
            [one["local_test"]["confusion"] for one in grid.of(framework, model)], axis=0
        )
        for framework in grid.study.frameworks
        for model in grid.models
    }
    classes = grid.results[0].figures["classes"]
    drawn = figures.confusions(panels, classes, max(2, len(grid.models)))
    return [
        Picture("confusion", "Confusion of the local tests", drawn),
        *by_source(grid, "local_test", "local tests"),
    ]
