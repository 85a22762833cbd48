"""Pictures of what can be counted: training images, confusions, bytes."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.patches import Patch

from federation.records.summary import HospitalSummary
from simulation.report.kit import (
    BLUE,
    CLASSES,
    INK,
    LIGHT_BLUE,
    SOFT,
    colours,
    drawing,
    readable_bytes,
)
from simulation.report.pictures import legend, rows_high
from simulation.report.read import RunView

MANY = 12
"""Classes: above, cells carry no numbers."""


def holdings(run: RunView) -> bytes | None:
    """How many training images of each class every hospital has."""
    holders = [one for one in run.hospitals if sum(one.train)]
    if not holders:
        return None
    with drawing(rows_high(len(holders))) as drawn:
        axes = drawn.axes
        places, counts = np.arange(len(holders))[::-1], np.array([one.train for one in holders])
        starts, shades = np.zeros(len(holders)), colours(counts.shape[1])
        for column, colour in enumerate(shades):
            axes.barh(
                places,
                counts[:, column],
                0.62,
                left=starts,
                color=colour,
                edgecolor="white",
                linewidth=0.8,
            )
            if counts.shape[1] <= MANY:
                _numbers(
                    axes,
                    places,
                    starts,
                    counts[:, column],
                    counts.sum(axis=1).max(),
                    dark=column % len(CLASSES) in (1, 2),
                )
            starts = starts + counts[:, column]
        for place, total in zip(places, starts, strict=True):
            axes.text(
                total + 0.012 * starts.max(), place, f"{int(total):,}", va="center", color=SOFT
            )
        axes.set(
            yticks=places,
            yticklabels=[one.id for one in holders],
            xlim=(0, 1.1 * starts.max()),
            xlabel="images to train on",
        )
        axes.tick_params(axis="y", length=0)
        axes.grid(axis="x")
        axes.spines[["left"]].set_visible(False)
        if counts.shape[1] <= MANY:
            handles = [
                Patch(color=colour, label=name)
                for colour, name in zip(shades, run.classes, strict=False)
            ]
            legend(axes, handles)
    return drawn.png


def _numbers(
    axes: Axes, places: np.ndarray, starts: np.ndarray, counts: np.ndarray, widest: int, dark: bool
) -> None:
    for place, start, count in zip(places, starts, counts, strict=True):
        if count > 0.045 * widest:
            axes.text(
                start + count / 2,
                place,
                f"{int(count)}",
                ha="center",
                va="center",
                fontsize=8.5,
                color=INK if dark else "white",
            )


def confusion(run: RunView) -> bytes | None:
    """The confusion counts of all local tests together; shades are shares of the true class."""
    if run.test is None:
        return None
    counts = np.array(run.test.figures.confusion)
    size = len(counts)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    with drawing(min(5.6, 1.4 + 0.62 * size), min(6.6, 2.6 + 0.85 * size)) as drawn:
        axes = drawn.axes
        shades = LinearSegmentedColormap.from_list("shades", ["#f4f7f9", "#8fbdd0", BLUE])
        axes.imshow(shares, cmap=shades, vmin=0, vmax=1, aspect="auto")
        if size <= MANY:
            for (row, column), count in np.ndenumerate(counts):
                colour = "white" if shares[row, column] > 0.7 else INK
                axes.text(
                    column,
                    row,
                    f"{count}\n{100 * shares[row, column]:.0f} %",
                    ha="center",
                    va="center",
                    color=colour,
                    fontsize=8.5,
                )
        names = [name if len(name) <= 14 else name[:13] + "…" for name in run.classes] or [
            str(number) for number in range(size)
        ]
        axes.set(xlabel="the model says", ylabel="it is", xticks=range(size), yticks=range(size))
        axes.set_xticklabels(names[:size], rotation=0 if size <= 5 else 60, color=INK)
        axes.set_yticklabels(names[:size])
        axes.tick_params(length=0)
        axes.set_xticks(np.arange(size + 1) - 0.5, minor=True)
        axes.set_yticks(np.arange(size + 1) - 0.5, minor=True)
        axes.grid(which="minor", color="white", linewidth=2)
        axes.tick_params(which="minor", length=0)
        axes.spines[:].set_visible(False)
    return drawn.png


def traffic(run: RunView) -> bytes | None:
    """Bytes of one round at one hospital, beside what unprotected float32 would take."""
    moved = None if isinstance(run.summary, HospitalSummary) else run.summary.bytes
    if moved is None or not moved.plain_float32:
        return None
    rows = [
        ("unprotected float32", moved.plain_float32, "#b9c4cd"),
        ("sent by a hospital", moved.upload_per_hospital_per_round, BLUE),
        ("received by a hospital", moved.download_per_hospital_per_round, LIGHT_BLUE),
    ]
    with drawing(1.55) as drawn:
        axes = drawn.axes
        values = np.array([value for _, value, _ in rows], float)
        axes.barh([2, 1, 0], values, 0.6, color=[colour for _, _, colour in rows])
        for place, value in zip((2, 1, 0), values, strict=True):
            text = (
                f"{readable_bytes(value)}"
                if place == 2
                else f"{readable_bytes(value)}   {value / values[0]:.2f} ×"
            )
            axes.text(value + 0.012 * values.max(), place, text, va="center")
        axes.set(
            yticks=[2, 1, 0],
            yticklabels=[name for name, _, _ in rows],
            xlim=(0, 1.28 * values.max()),
            xticks=[],
        )
        axes.tick_params(axis="y", length=0)
        axes.spines[:].set_visible(False)
    return drawn.png
