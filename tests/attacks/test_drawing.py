"""Pictures, drawn without touching the caller's matplotlib."""

import io
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from msgspec import structs
from PIL import Image

from attacks import drawing
from attacks.cells import Cell
from attacks.row import Row, describe

PNG = b"\x89PNG"
BACKEND = """
import matplotlib
matplotlib.use("svg")
import attacks.front, attacks.report, attacks.command, attacks.matrix
assert matplotlib.get_backend().lower() == "svg", matplotlib.get_backend()
"""


def test_importing_attacks_leaves_the_backend_as_it_is() -> None:
    root = Path(__file__).resolve().parents[2]
    done = subprocess.run([sys.executable, "-c", BACKEND], cwd=root, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_every_reconstruction_becomes_an_enlarged_picture(tmp_path: Path) -> None:
    images = np.zeros((2, 1, 3, 4, 4))
    images[1] = 2.0  # beyond white
    drawing.save_images(images, tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["0-0.png", "1-0.png"]
    picture = np.asarray(Image.open(tmp_path / "1-0.png"))
    assert picture.shape == (32, 32, 3) and (picture == 255).all()


def height(png: bytes | None) -> int:
    assert png is not None
    return Image.open(io.BytesIO(png)).height


@pytest.mark.parametrize("channels", [1, 3])
def test_the_panel_of_a_cell_has_a_line_for_each_kind_of_image(
    tmp_path: Path, channels: int
) -> None:
    some = np.full((2, channels, 8, 8), 0.5, np.float16)
    np.savez_compressed(tmp_path / "a.npz", truth=some, found=some, mean=some[:1])
    two = height(drawing.panel(tmp_path / "a.npz"))
    np.savez_compressed(tmp_path / "b.npz", truth=some, found=some, unrelated=some)
    assert height(drawing.panel(tmp_path / "b.npz")) > two
    assert drawing.panel(tmp_path / "none.npz") is None


def point(cell: Cell, psnr: float) -> Row:
    figures = {"psnr_q1": psnr - 1, "psnr_median": psnr, "psnr_q3": psnr + 1, "control_psnr": 10.0}
    return structs.replace(describe(cell, None), steps=1, **figures)


def test_a_curve_takes_the_cells_that_differ_in_its_axis_alone() -> None:
    base = Cell()
    batch = next(axis for axis in drawing.AXES if axis.field == "batch")
    cells = [base, replace(base, batch=4), replace(base, batch=8, optimizer="adam")]
    rows = [point(cell, 20.0) for cell in cells]
    drawn = drawing.curve(cells, rows, batch)
    assert drawn is not None and drawn.startswith(PNG)
    assert drawing.curve(cells[::2], rows[::2], batch) is None


def test_bars_have_one_group_for_each_case() -> None:
    drawn = drawing.bars(np.ones((2, 3)), ["a", "b", "c"], "class", "share")
    assert len(drawn.axes.patches) == 6 and drawn.png.startswith(PNG)
