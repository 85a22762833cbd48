"""Pictures of answers and of the report, as PNG files. The caller's matplotlib stays as it is."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
from PIL import Image

from attacks.cells import Cell
from attacks.row import Row
from simulation.report.kit import BLUE, LIGHT_BLUE, SOFT, Drawing, colours, drawing

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


def side_by_side(lines: Sequence[tuple[str, np.ndarray]], dpi: int = 110) -> Drawing:
    """Draw one line of images (n, C, H, W) per title."""
    count = len(lines[0][1])
    size = {"height": 1.12 * len(lines), "width": 0.95 * count + 0.1}
    with drawing(**size, rows=len(lines), columns=count, dpi=dpi) as drawn:
        for row, (label, images) in zip(drawn.panels, lines, strict=True):
            row[0].set_title(label, fontsize=7, loc="left", pad=2)
            for place, image in zip(row, images, strict=False):
                place.imshow(pixels(image), cmap="gray", vmin=0, vmax=1)
            for place in row:
                place.set_axis_off()
    return drawn


def bars(values: np.ndarray, labels: Sequence[str], what: str, measure: str) -> Drawing:
    """Draw one group of bars per label, with a bar for each case of `values` (cases, labels)."""
    width = 0.8 / len(values)
    shades = colours(len(values))
    with drawing(2.8, 1.5 + 0.5 * len(labels)) as drawn:
        for case, row in enumerate(values):
            where = np.arange(len(labels)) + case * width
            name = f"observation {case + 1}"
            drawn.axes.bar(where, row, width, label=name, color=shades[case])
        drawn.axes.set_xticks(np.arange(len(labels)) + 0.4 - width / 2, labels)
        drawn.axes.set_xlabel(what)
        drawn.axes.set_ylabel(measure)
        drawn.axes.legend(fontsize=7)
    return drawn


def panel(source: Path) -> bytes | None:
    """Draw the pictures of a cell: originals, below them the reconstructions, below those what the
    same attack found in another's update. Returns None if there are no pictures.
    """
    if not source.exists():
        return None
    with np.load(source, allow_pickle=False) as arrays:
        lines = [(said, arrays[name]) for name, said in PANELS.items() if name in arrays]
    picture = Image.open(io.BytesIO(side_by_side(lines, dpi=100).png))
    # noise does not compress: one channel if the images have one, a palette if they have three
    grey = lines[0][1].shape[1] == 1
    small = picture.convert("L") if grey else picture.convert("RGB").quantize(256)
    written = io.BytesIO()
    small.save(written, format="png", optimize=True)
    return written.getvalue()


def curve(cells: Sequence[Cell], rows: Sequence[Row], axis: Axis) -> bytes | None:
    """Draw the PSNR of the base cell's attack along one axis; everything else is as in the first
    cell. Returns None if there are fewer than two points.
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
    with drawing(2.8, 4.0, dpi=120) as drawn:
        place = drawn.axes
        place.plot(x, middle, "o-", color=BLUE, label="attack, median")
        place.fill_between(x, low, high, color=LIGHT_BLUE, alpha=0.35, label="quartiles")
        place.plot(x, control, "--", color=SOFT, label="best control")
        if axis.scale == "log":
            place.set_xscale("symlog", linthresh=min((v for v in x if v > 0), default=1.0))
        else:
            place.set_xticks(x)
        place.set_xlabel(axis.label)
        place.set_ylabel("PSNR, dB")
        place.legend(fontsize=7)
    return drawn.png


def _only(field: str, cell: dict[str, object], base: dict[str, object]) -> bool:
    """Whether the cell differs from the base in this field alone (and in its budget)."""
    return all(v == base[k] for k, v in cell.items() if k not in (field, "images", "steps"))
