"""The papers' figures, drawn from results. Each function gives the bytes of a PNG."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from simulation.report.kit import AMBER, BLUE, CLASSES, GREY, INK, SOFT, WIDTH, drawing
from simulation.report.kit import colours as class_colours

COLOURS = {"fedavg": AMBER, "flop": BLUE, "central": GREY}
Curve = Sequence[Sequence[float]]
"""One or several seeds' values by round; several are drawn as their mean within their range."""


def curves(
    panels: Mapping[str, Mapping[str, Curve]],
    ylabel: str,
    colours: Mapping[str, str] | None = None,
    xlabel: str = "round",
) -> bytes:
    """A panel each, a line for every entry; two panels a row."""
    columns = min(2, len(panels))
    rows = -(-len(panels) // columns)
    with drawing(0.5 + 2.5 * rows, rows=rows, columns=columns) as drawn:
        for axes in drawn.flat[len(panels) :]:
            axes.set_axis_off()
        for axes, (title, lines) in zip(drawn.flat, panels.items(), strict=False):
            for number, (name, curve) in enumerate(lines.items()):
                _line(axes, name, curve, (colours or {}).get(name, CLASSES[number % len(CLASSES)]))
            axes.set_title(title, fontsize=10, loc="left", color=INK)
            axes.set(xlabel=xlabel, ylabel=ylabel)
            axes.xaxis.set_major_locator(MaxNLocator(integer=True))
            axes.grid(axis="y")
            if len(lines) > 1:
                axes.legend(fontsize=8.5)
    return drawn.png


def _line(axes: Axes, name: str, curve: Curve, colour: str) -> None:
    values = np.array(curve, float)
    rounds = np.arange(1, values.shape[1] + 1)
    axes.plot(
        rounds,
        values.mean(axis=0),
        color=colour,
        linewidth=1.8,
        label=name,
        marker="o" if len(rounds) <= 15 else None,
        markersize=3,
    )
    if len(values) > 1:
        axes.fill_between(
            rounds, values.min(axis=0), values.max(axis=0), color=colour, alpha=0.18, linewidth=0
        )


def confusions(
    panels: Mapping[str, Sequence[Sequence[int]]], classes: Sequence[str], columns: int
) -> bytes:
    """Rows of truth in percent of the row, the counts below."""
    rows = -(-len(panels) // columns)
    with drawing(0.35 + rows * (WIDTH / columns) * 0.94, rows=rows, columns=columns) as drawn:
        for axes in drawn.flat[len(panels) :]:
            axes.set_axis_off()
        for at, (axes, (title, counts)) in enumerate(zip(drawn.flat, panels.items(), strict=False)):
            matrix = np.array(counts, float)
            share = matrix / np.maximum(1, matrix.sum(axis=1, keepdims=True))
            axes.imshow(share, cmap="Blues", vmin=0, vmax=1)
            for (row, column), value in np.ndenumerate(share):
                colour = "white" if value > 0.55 else INK
                cell = f"{100 * value:.0f} %\n{matrix[row, column]:.0f}"
                axes.text(column, row, cell, ha="center", va="center", color=colour, fontsize=7)
            short = [name[:9] for name in classes]
            axes.set(xticks=range(len(short)), yticks=range(len(short)))
            axes.set_xticklabels(
                short, fontsize=7, rotation=0 if columns < 4 and len(short) <= 3 else 40
            )
            axes.set_yticklabels(short if at % columns == 0 else [], fontsize=7)
            axes.set_title(title, fontsize=9, loc="left", color=INK)
            axes.tick_params(length=0)
            axes.spines[:].set_visible(False)
        drawn.figure.supxlabel("the model says", fontsize=8, color=SOFT)
        drawn.figure.supylabel("it is", fontsize=8, color=SOFT)
    return drawn.png


def bars(groups: Mapping[str, Mapping[str, float]], ylabel: str) -> bytes:
    """Groups of bars with their numbers on top."""
    names = list(next(iter(groups.values())))
    with drawing(3.2, rows=1, columns=1) as drawn:
        axes = drawn.axes
        width = 0.8 / len(names)
        for number, name in enumerate(names):
            places = np.arange(len(groups)) + (number - (len(names) - 1) / 2) * width
            found = axes.bar(
                places,
                [one[name] for one in groups.values()],
                width * 0.92,
                color=CLASSES[number % len(CLASSES)],
                label=name,
            )
            axes.bar_label(found, fmt="{:,.0f}", fontsize=7.5, color=INK)
        axes.set(xticks=range(len(groups)), xticklabels=list(groups), ylabel=ylabel)
        axes.grid(axis="y")
        axes.legend(fontsize=8.5)
    return drawn.png


def holdings(counts: Sequence[Sequence[int]], classes: Sequence[str]) -> bytes:
    """Who has what: every hospital's training images, stacked by class."""
    values = np.array(counts)
    shades = class_colours(len(classes))
    with drawing(2.6, rows=1, columns=1) as drawn:
        axes = drawn.axes
        below = np.zeros(len(values))
        for number, name in enumerate(classes):
            axes.bar(
                np.arange(1, len(values) + 1),
                values[:, number],
                0.8,
                bottom=below,
                color=shades[number],
                label=name,
            )
            below += values[:, number]
        axes.set(xlabel="hospital", ylabel="training images", xlim=(0.3, len(values) + 0.7))
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.legend(fontsize=8, loc="upper left", bbox_to_anchor=(1.0, 1.0))
    return drawn.png


def maps(rows: Mapping[str, Mapping[str, tuple[np.ndarray, np.ndarray, str]]]) -> bytes:
    """Grad-CAM++ panels: a row of models each; an entry is (image C x H x W uint8, heat H x W in
    [0, 1], what the model says).
    """
    columns = max(len(row) for row in rows.values())
    side = WIDTH / columns
    with drawing(len(rows) * (side + 0.28), rows=len(rows), columns=columns) as drawn:
        for at, (title, row) in enumerate(rows.items()):
            for axes in drawn.panels[at]:
                axes.set(xticks=[], yticks=[])
                axes.spines[:].set_visible(False)
            drawn.panels[at][0].set_ylabel(title, fontsize=9, color=INK)
            for axes, (name, (image, heat, says)) in zip(
                drawn.panels[at], row.items(), strict=False
            ):
                axes.imshow(
                    image[0] if len(image) == 1 else image.transpose(1, 2, 0),
                    cmap="gray",
                    vmin=0,
                    vmax=255,
                )
                axes.imshow(heat, cmap="turbo", alpha=0.45, vmin=0, vmax=1)
                axes.set_title(f"{name}\nsays {says}", fontsize=8, color=INK)
    return drawn.png
