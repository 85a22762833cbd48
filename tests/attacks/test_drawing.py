"""Pictures, drawn without touching the caller's matplotlib."""

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


@pytest.mark.parametrize("channels", [1, 3])
def test_the_panel_of_a_cell_has_a_line_for_each_kind_of_image(
    tmp_path: Path, channels: int
) -> None:
    some = np.full((2, channels, 8, 8), 0.5, np.float16)
    np.savez_compressed(tmp_path / "a.npz", truth=some, found=some, mean=some[:1])
    assert drawing.panel(tmp_path / "a.npz", tmp_path / "a.png") == "a.png"
    two = Image.open(tmp_path / "a.png").size
    np.savez_compressed(tmp_path / "b.npz", truth=some, found=some, unrelated=some)
    drawing.panel(tmp_path / "b.npz", tmp_path / "b.png")
    assert Image.open(tmp_path / "b.png").size[1] > two[1]
    assert drawing.panel(tmp_path / "none.npz", tmp_path / "c.png") is None


def point(cell: Cell, psnr: float) -> Row:
    figures = {"psnr_q1": psnr - 1, "psnr_median": psnr, "psnr_q3": psnr + 1, "control_psnr": 10.0}
    return structs.replace(describe(cell, None), steps=1, **figures)


def test_a_curve_takes_the_cells_that_differ_in_its_axis_alone(tmp_path: Path) -> None:
    base = Cell()
    batch = next(axis for axis in drawing.AXES if axis.field == "batch")
    cells = [base, replace(base, batch=4), replace(base, batch=8, optimizer="adam")]
    rows = [point(cell, 20.0) for cell in cells]
    assert drawing.curve(cells, rows, batch, tmp_path) == "curve-batch.png"
    assert drawing.curve(cells[::2], rows[::2], batch, tmp_path) is None


def test_bars_have_one_group_for_each_case() -> None:
    figure = drawing.bars(np.ones((2, 3)), ["a", "b", "c"], "class", "share")
    assert len(figure.axes[0].patches) == 6
    assert drawing.png(figure).startswith(b"\x89PNG")
