"""The report's pictures: each function takes a RunView and gives a PNG's bytes, or None where there
is nothing to draw.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator, PercentFormatter

from simulation.report.read import HospitalView, RunView

INK, SOFT, LINE = "#17212b", "#5d6b78", "#d9e0e6"
FEDERATION, BAD = "#155e82", "#b3432f"
BASELINE = {
    "majority": ("#8d99a4", "|", "majority class"),
    "linear": ("#d9a441", "D", "linear model"),
    "local": (BAD, "o", "training alone"),
}
CLASSES = ("#155e82", "#6fb1c9", "#d9a441", "#b3432f", "#7a6ba8", "#6c8f4e", "#c38aa0", "#8d99a4")
WIDTH = 7.6  # inches; shown at the width of the text
MANY = 12  # classes: above, cells carry no numbers

STYLE = {
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 9.5,
    "text.color": INK,
    "axes.edgecolor": LINE,
    "axes.labelcolor": SOFT,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.color": SOFT,
    "ytick.color": INK,
    "grid.color": LINE,
    "grid.linewidth": 0.8,
    "axes.axisbelow": True,
    "legend.frameon": False,
}


class _Drawing:
    """A figure, and its PNG when it is done."""

    def __init__(self, height: float, width: float = WIDTH) -> None:
        self.figure = Figure(figsize=(width, height), layout="constrained")
        self.axes: Axes = self.figure.add_subplot()
        self.png = b""


@contextmanager
def _drawing(height: float, width: float = WIDTH) -> Iterator[_Drawing]:
    with matplotlib.rc_context(STYLE):
        drawing = _Drawing(height, width)
        yield drawing
        content = BytesIO()
        drawing.figure.savefig(content, format="png", dpi=180, metadata={"Software": None})
        drawing.png = content.getvalue()


def _rows(count: int, least: float = 0.0) -> float:
    """Height in inches of a chart with `count` rows."""
    return max(least, 0.9 + 0.36 * count)


def _colours(count: int) -> list[Any]:
    return (
        list(CLASSES[:count])
        if count <= len(CLASSES)
        else list(matplotlib.colormaps["viridis"](np.linspace(0.05, 0.95, count)))
    )


def accuracies(run: RunView) -> bytes | None:
    """Local test accuracy of every hospital with its 95 % interval, and its baselines as marks."""
    tested = [one for one in run.hospitals if one.test]
    if not tested:
        return None
    with _drawing(_rows(len(tested))) as drawing:
        axes = drawing.axes
        places = np.arange(len(tested))[::-1]
        values = np.array([one.test["accuracy"] for one in tested])
        low, high = np.array([one.test["interval"] for one in tested]).T
        axes.barh(places, values, 0.56, color=FEDERATION)
        axes.hlines(places, low, high, color="white", linewidth=3.4)
        axes.hlines(places, low, high, color=INK, linewidth=1.5)
        for name, (colour, mark, _) in BASELINE.items():
            known = [
                (one.baselines[name]["accuracy"], place)
                for one, place in zip(tested, places, strict=True)
                if one.baselines.get(name)
            ]
            if known:
                size, width = (190, 2.4) if mark == "|" else (34, 0.9)
                axes.scatter(*zip(*known, strict=True), s=size, marker=mark, color=colour, linewidth=width, zorder=3,
                             **({} if mark == "|" else {"edgecolor": "white"}))  # fmt: skip
        for place, value in zip(places, values, strict=True):
            axes.text(
                1.1,
                place,
                f"{100 * value:.0f} %",
                ha="right",
                va="center",
                color=FEDERATION,
                fontweight="bold",
            )
        axes.set(
            yticks=places,
            yticklabels=[one.id for one in tested],
            xlim=(0, 1.1),
            xticks=np.linspace(0, 1, 6),
        )
        axes.xaxis.set_major_formatter(PercentFormatter(1.0, decimals=0, symbol=" %"))
        axes.tick_params(axis="y", length=0)
        axes.grid(axis="x")
        axes.spines[["left"]].set_visible(False)
        _legend(axes, _marks(tested))
    return drawing.png


def _marks(tested: list[HospitalView]) -> list[Any]:
    handles: list[Any] = [
        Patch(color=FEDERATION, label="this run"),
        Line2D([], [], color=INK, linewidth=1.2, label="95 % interval"),
    ]
    for name, (colour, mark, label) in BASELINE.items():
        if any(one.baselines.get(name) for one in tested):
            handles.append(
                Line2D(
                    [],
                    [],
                    color=colour,
                    marker=mark,
                    linestyle="",
                    markeredgewidth=2 if mark == "|" else 0.5,
                    label=label,
                )
            )
    return handles


def _legend(axes: Axes, handles: list[Any]) -> None:
    """Above the axes, in as many rows as it takes."""
    rows = -(-len(handles) // 5)
    axes.legend(handles=handles, loc="lower left", bbox_to_anchor=(-0.01, 1.0), ncols=-(-len(handles) // rows), columnspacing=1.3,
                handlelength=1.3, fontsize=9, borderaxespad=0.3)  # fmt: skip


def curves(run: RunView) -> bytes | None:
    """Local test accuracy after every round: each hospital thin, their mean thick, aborted rounds
    marked.
    """
    known = {
        one.id: {
            line["round"]: line["accuracy"]
            for line in one.rounds
            if line.get("accuracy") is not None
        }
        for one in run.hospitals
    }
    rounds = sorted({round_ for curve in known.values() for round_ in curve})
    if len(rounds) < 2:
        return None
    with _drawing(3.0) as drawing:
        axes = drawing.axes
        for curve in known.values() if len(known) > 1 else ():
            axes.plot(
                list(curve),
                list(curve.values()),
                color="#9fc2d1",
                linewidth=1.0,
                marker="o",
                markersize=2.2,
            )
        means = [
            np.mean([curve[round_] for curve in known.values() if round_ in curve])
            for round_ in rounds
        ]
        axes.plot(
            rounds,
            means,
            color=FEDERATION,
            linewidth=2.6,
            marker="o",
            markersize=4.0 if len(rounds) < 40 else 0,
        )
        axes.annotate(f"{100 * means[-1]:.0f} %", (rounds[-1], means[-1]), xytext=(7, 0), textcoords="offset points", va="center",
                      color=FEDERATION, fontweight="bold", annotation_clip=False)  # fmt: skip
        handles: list[Any] = [Line2D([], [], color=FEDERATION, linewidth=2.6, label="this run")]
        if len(known) > 1:
            handles[0].set_label("mean of hospitals")
            handles.append(Line2D([], [], color="#9fc2d1", linewidth=1.0, label="each hospital"))
        for name in ("local", "majority"):
            colour, _, label = BASELINE[name]
            scores = [
                one.baselines[name]["accuracy"] for one in run.hospitals if one.baselines.get(name)
            ]
            if scores:
                axes.axhline(
                    float(np.mean(scores)), color=colour, linewidth=1.1, linestyle=(0, (5, 3))
                )
                handles.append(
                    Line2D([], [], color=colour, linewidth=1.1, linestyle=(0, (5, 3)), label=label)
                )
        for number, round_ in enumerate(run.aborted):
            axes.axvspan(round_ - 0.25, round_ + 0.25, color=BAD, alpha=0.13, linewidth=0)
            if not number:
                handles.append(Patch(color=BAD, alpha=0.2, linewidth=0, label="aborted round"))
        axes.set(
            xlabel="round",
            ylim=(0, 1.02),
            xlim=(min(0.7, rounds[0] - 0.3), max([*rounds, *run.aborted]) + 0.3),
        )
        axes.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0, symbol=" %"))
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.grid(axis="y")
        _legend(axes, handles)
    return drawing.png


def holdings(run: RunView) -> bytes | None:
    """How many training images of each class every hospital has."""
    holders = [one for one in run.hospitals if sum(one.train)]
    if not holders:
        return None
    with _drawing(_rows(len(holders))) as drawing:
        axes = drawing.axes
        places, counts = np.arange(len(holders))[::-1], np.array([one.train for one in holders])
        starts, colours = np.zeros(len(holders)), _colours(counts.shape[1])
        for column, colour in enumerate(colours):
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
                for colour, name in zip(colours, run.classes, strict=False)
            ]
            _legend(axes, handles)
    return drawing.png


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
    if not run.test.get("confusion"):
        return None
    counts = np.array(run.test["confusion"])
    size = len(counts)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    with _drawing(min(5.6, 1.4 + 0.62 * size), min(6.6, 2.6 + 0.85 * size)) as drawing:
        axes = drawing.axes
        shades = matplotlib.colors.LinearSegmentedColormap.from_list(
            "shades", ["#f4f7f9", "#8fbdd0", FEDERATION]
        )
        axes.imshow(shares, cmap=shades, vmin=0, vmax=1, aspect="auto")
        if size <= MANY:
            for (row, column), count in np.ndenumerate(counts):
                colour = "white" if shares[row, column] > 0.55 else INK
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
    return drawing.png


def traffic(run: RunView) -> bytes | None:
    """Bytes of one round at one hospital, beside what unprotected float32 would take."""
    moved = run.summary.get("bytes") or {}
    rows = [
        ("unprotected float32", moved.get("plain_float32"), "#b9c4cd"),
        ("sent by a hospital", moved.get("upload_per_hospital_per_round"), FEDERATION),
        ("received by a hospital", moved.get("download_per_hospital_per_round"), "#6fb1c9"),
    ]
    if not all(value for _, value, _ in rows):
        return None
    with _drawing(1.55) as drawing:
        axes = drawing.axes
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
    return drawing.png


def readable_bytes(count: float) -> str:
    """1234567 → 1.23 MB: decimal units, three digits."""
    for unit in ("B", "kB", "MB"):
        if count < 999.5:
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:.3g} GB"
