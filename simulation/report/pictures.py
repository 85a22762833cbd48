"""Pictures of how good a run is: each function takes a RunView and gives a PNG's bytes, or None if
there is nothing to draw.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator, PercentFormatter

from simulation.report.kit import AMBER, BLUE, GREY, INK, RED, drawing
from simulation.report.read import HospitalView, RunView

BASELINE = {
    "majority": (GREY, "|", "majority class"),
    "linear": (AMBER, "D", "linear model"),
    "local": (RED, "o", "training alone"),
}
PALE = "#9fc2d1"


def rows_high(count: int) -> float:
    """Height in inches of a chart with `count` rows."""
    return 0.9 + 0.36 * count


def accuracies(run: RunView) -> bytes | None:
    """Local test accuracy of every hospital with its 95 % interval, and its baselines as marks."""
    tested = [one for one in run.hospitals if one.test]
    if not tested:
        return None
    with drawing(rows_high(len(tested))) as drawn:
        axes = drawn.axes
        places = np.arange(len(tested))[::-1]
        values = np.array([one.test["accuracy"] for one in tested])
        low, high = np.array([one.test["interval"] for one in tested]).T
        axes.barh(places, values, 0.56, color=BLUE)
        axes.hlines(places, low, high, color="white", linewidth=3.4)
        axes.hlines(places, low, high, color=INK, linewidth=1.5)
        for name, (colour, mark, _) in BASELINE.items():
            known = [
                (one.baselines[name]["accuracy"], place)
                for one, place in zip(tested, places, strict=True)
                if one.baselines.get(name)
            ]
            if known:
                scores, at = zip(*known, strict=True)
                bar = mark == "|"
                axes.scatter(
                    scores,
                    at,
                    s=190 if bar else 34,
                    marker=mark,
                    color=colour,
                    linewidth=2.4 if bar else 0.9,
                    edgecolor=None if bar else "white",
                    zorder=3,
                )
        for place, value in zip(places, values, strict=True):
            axes.text(
                1.1,
                place,
                f"{100 * value:.0f} %",
                ha="right",
                va="center",
                color=BLUE,
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
        legend(axes, _marks(tested))
    return drawn.png


def _marks(tested: list[HospitalView]) -> list[Any]:
    handles: list[Any] = [
        Patch(color=BLUE, label="this run"),
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


def legend(axes: Axes, handles: list[Any]) -> None:
    """Above the axes, in as many rows as it takes."""
    rows = -(-len(handles) // 5)
    axes.legend(
        handles=handles,
        loc="lower left",
        bbox_to_anchor=(-0.01, 1.0),
        ncols=-(-len(handles) // rows),
        columnspacing=1.3,
        handlelength=1.3,
        fontsize=9,
        borderaxespad=0.3,
    )


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
    with drawing(3.0) as drawn:
        axes = drawn.axes
        for curve in known.values() if len(known) > 1 else ():
            axes.plot(
                list(curve),
                list(curve.values()),
                color=PALE,
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
            color=BLUE,
            linewidth=2.6,
            marker="o",
            markersize=4.0 if len(rounds) < 40 else 0,
        )
        axes.annotate(
            f"{100 * means[-1]:.0f} %",
            (rounds[-1], means[-1]),
            xytext=(7, 0),
            textcoords="offset points",
            va="center",
            color=BLUE,
            fontweight="bold",
            annotation_clip=False,
        )
        handles: list[Any] = [Line2D([], [], color=BLUE, linewidth=2.6, label="this run")]
        if len(known) > 1:
            handles[0].set_label("mean of hospitals")
            handles.append(Line2D([], [], color=PALE, linewidth=1.0, label="each hospital"))
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
            axes.axvspan(round_ - 0.25, round_ + 0.25, color=RED, alpha=0.13, linewidth=0)
            if not number:
                handles.append(Patch(color=RED, alpha=0.2, linewidth=0, label="aborted round"))
        axes.set(
            xlabel="round",
            ylim=(0, 1.02),
            xlim=(min(0.7, rounds[0] - 0.3), max([*rounds, *run.aborted]) + 0.3),
        )
        axes.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0, symbol=" %"))
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.grid(axis="y")
        legend(axes, handles)
    return drawn.png
