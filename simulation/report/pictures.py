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
from simulation.report.read import BASELINES, HospitalView, RunView
from simulation.report.trouble import without_result

MARKS = {"majority": (GREY, "|"), "linear": (AMBER, "D"), "local": (RED, "o")}
"""The colour and mark of every baseline."""
PALE = "#9fc2d1"


def rows_high(count: int) -> float:
    """Height in inches of a chart with `count` rows."""
    return 0.9 + 0.36 * count


def accuracies(run: RunView) -> bytes | None:
    """Local test accuracy of every hospital with its 95 % interval, and its baselines as marks."""
    tested = [(one, one.test) for one in run.hospitals if one.test is not None]
    if not tested:
        return None
    with drawing(rows_high(len(tested))) as drawn:
        axes = drawn.axes
        places = np.arange(len(tested))[::-1]
        values = np.array([found.metrics["accuracy"] for _, found in tested])
        low, high = np.array([found.interval for _, found in tested]).T
        axes.barh(places, values, 0.56, color=BLUE)
        axes.hlines(places, low, high, color="white", linewidth=3.4)
        axes.hlines(places, low, high, color=INK, linewidth=1.5)
        for name, (colour, mark) in MARKS.items():
            known = [
                (one.baselines[name].metrics["accuracy"], place)
                for (one, _), place in zip(tested, places, strict=True)
                if name in one.baselines
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
            yticklabels=[one.id for one, _ in tested],
            xlim=(0, 1.1),
            xticks=np.linspace(0, 1, 6),
        )
        axes.xaxis.set_major_formatter(PercentFormatter(1.0, decimals=0, symbol=" %"))
        axes.tick_params(axis="y", length=0)
        axes.grid(axis="x")
        axes.spines[["left"]].set_visible(False)
        legend(axes, _marks([one for one, _ in tested]))
    return drawn.png


def _marks(tested: list[HospitalView]) -> list[Any]:
    handles: list[Any] = [
        Patch(color=BLUE, label="this run"),
        Line2D([], [], color=INK, linewidth=1.2, label="95 % interval"),
    ]
    for name, (colour, mark) in MARKS.items():
        if any(name in one.baselines for one in tested):
            handles.append(
                Line2D(
                    [],
                    [],
                    color=colour,
                    marker=mark,
                    linestyle="",
                    markeredgewidth=2 if mark == "|" else 0.5,
                    label=BASELINES[name],
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
            line.round: score
            for line in one.rounds
            if (score := line.metrics.get("accuracy")) is not None
        }
        for one in run.hospitals
    }
    aborted = without_result(run.events or ())
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
            colour, label = MARKS[name][0], BASELINES[name]
            scores = [
                one.baselines[name].metrics["accuracy"]
                for one in run.hospitals
                if name in one.baselines
            ]
            if scores:
                axes.axhline(
                    float(np.mean([score for score in scores if score is not None])),
                    color=colour,
                    linewidth=1.1,
                    linestyle=(0, (5, 3)),
                )
                handles.append(
                    Line2D([], [], color=colour, linewidth=1.1, linestyle=(0, (5, 3)), label=label)
                )
        for number, round_ in enumerate(aborted):
            axes.axvspan(round_ - 0.25, round_ + 0.25, color=RED, alpha=0.13, linewidth=0)
            if not number:
                handles.append(Patch(color=RED, alpha=0.2, linewidth=0, label="aborted round"))
        axes.set(
            xlabel="round",
            ylim=(0, 1.02),
            xlim=(min(0.7, rounds[0] - 0.3), max([*rounds, *aborted]) + 0.3),
        )
        axes.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0, symbol=" %"))
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.grid(axis="y")
        legend(axes, handles)
    return drawn.png
