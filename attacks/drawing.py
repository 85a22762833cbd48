"""Pictures of the report. Nothing here uses pyplot, so the caller's matplotlib stays as it is."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

from attacks.cells import Cell
from attacks.row import Row

ENLARGED = 8
PANELS = {
    "truth": "original",
    "found": "from the update",
    "unrelated": "control: from another's update",
}


class Axis(NamedTuple):
    """A field of `Cell` along which a curve is drawn."""

    field: str
    label: str
    scale: Literal["log", "linear"]


AXES = (
    Axis("noise", "DP noise multiplier", "log"),
    Axis("local_steps", "local steps on the same batch", "log"),
    Axis("batch", "images in the batch", "linear"),
    Axis("cut", "private layers, from the end", "linear"),
)


def canvas(width: float, height: float) -> Figure:
    """Return a figure of this size in inches that draws with Agg and is known to no pyplot."""
    figure = Figure(figsize=(width, height))
    FigureCanvasAgg(figure)
    return figure


def pixels(image: np.ndarray) -> np.ndarray:
    """(C, H, W) in [0, 1] to (H, W) or (H, W, 3), clipped."""
    shown: np.ndarray = image[0] if len(image) == 1 else image.transpose(1, 2, 0)
    return shown.astype(float).clip(0, 1)


def save_images(images: np.ndarray, folder: Path) -> None:
    """Write every reconstruction of (cases, B, C, H, W) as CASE-PLACE.png, eight times as large."""
    for case, batch in enumerate(images):
        for place, image in enumerate(batch):
            small = Image.fromarray(np.round(255 * pixels(image)).astype(np.uint8))
            size = (small.width * ENLARGED, small.height * ENLARGED)
            small.resize(size, Image.Resampling.NEAREST).save(folder / f"{case}-{place}.png")


def side_by_side(lines: Sequence[tuple[str, np.ndarray]]) -> Figure:
    """Return a figure with one line of images (n, C, H, W) per title."""
    count = len(lines[0][1])
    figure = canvas(0.95 * count + 0.1, 1.12 * len(lines))
    axes = figure.subplots(len(lines), count, squeeze=False)
    for row, (label, images) in zip(axes, lines, strict=True):
        row[0].set_title(label, fontsize=7, loc="left", pad=2)
        for place, image in zip(row, images, strict=False):
            place.imshow(pixels(image), cmap="gray", vmin=0, vmax=1)
        for place in row:
            place.set_axis_off()
    figure.tight_layout(pad=0.2)
    return figure


def bars(values: np.ndarray, labels: Sequence[str], what: str, measure: str) -> Figure:
    """Return a figure with one group of bars per case of `values` (cases, labels)."""
    figure = canvas(1.5 + 0.5 * len(labels), 2.8)
    place = figure.subplots()
    width = 0.8 / len(values)
    for case, row in enumerate(values):
        place.bar(
            np.arange(len(labels)) + case * width, row, width, label=f"observation {case + 1}"
        )
    place.set_xticks(np.arange(len(labels)) + 0.4 - width / 2, labels)
    place.set_xlabel(what)
    place.set_ylabel(measure)
    place.legend(fontsize=7)
    figure.tight_layout()
    return figure


def png(figure: Figure) -> bytes:
    """Return the figure as a PNG file."""
    drawn = io.BytesIO()
    figure.savefig(drawn, format="png", dpi=110)
    return drawn.getvalue()


def panel(source: Path, target: Path) -> str | None:
    """Draw the pictures of a cell: originals, below them the reconstructions, below those what the
    same attack found in another's update. Returns the file's name, None if there are no pictures.
    """
    if not source.exists():
        return None
    with np.load(source, allow_pickle=False) as arrays:
        lines = [(said, arrays[name]) for name, said in PANELS.items() if name in arrays]
    drawn = io.BytesIO()
    side_by_side(lines).savefig(drawn, dpi=72)
    picture = Image.open(drawn)
    # noise does not compress: one channel if the images have one, a palette if they have three
    grey = lines[0][1].shape[1] == 1
    small = picture.convert("L") if grey else picture.convert("RGB").quantize(256)
    small.save(target, optimize=True)
    return target.name


def curve(cells: Sequence[Cell], rows: Sequence[Row], axis: Axis, folder: Path) -> str | None:
    """Draw the PSNR of the base cell's attack along one axis; everything else is as in the first
    cell. Returns the file's name, None if there are fewer than two points.
    """
    base = asdict(cells[0])
    points = sorted(
        (
            getattr(cell, axis.field) or 0,
            row.psnr_q1,
            row.psnr_median,
            row.psnr_q3,
            row.control_psnr,
        )
        for cell, row in zip(cells, rows, strict=True)
        if row.psnr_median is not None and _only(axis.field, asdict(cell), base)
    )
    if len(points) < 2:
        return None
    x, low, middle, high, control = (
        np.array(column, float) for column in zip(*points, strict=True)
    )
    figure = canvas(4, 2.8)
    place = figure.subplots()
    place.plot(x, middle, "o-", color="#b03030", label="attack, median")
    place.fill_between(x, low, high, color="#b03030", alpha=0.2, label="quartiles")
    place.plot(x, control, "--", color="#555", label="best control")
    if axis.scale == "log":
        place.set_xscale("symlog", linthresh=min((v for v in x if v > 0), default=1.0))
    else:
        place.set_xticks(x)
    place.set_xlabel(axis.label)
    place.set_ylabel("PSNR, dB")
    place.legend(fontsize=7)
    figure.tight_layout()
    name = f"curve-{axis.field}.png"
    figure.savefig(folder / name, dpi=110)
    return name


def _only(field: str, cell: dict[str, object], base: dict[str, object]) -> bool:
    """Whether the cell differs from the base in this field alone (and in its budget)."""
    return all(v == base[k] for k, v in cell.items() if k not in (field, "images", "steps"))
