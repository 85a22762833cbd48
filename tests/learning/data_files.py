"""Small image sets on disk, for the tests of learning.data."""

from pathlib import Path

import numpy as np
from PIL import Image


def picture(seed: int, size: int = 40, colour: bool = False) -> Image.Image:
    shape = (size, size, 3) if colour else (size, size)
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, shape, np.uint8))


def class_folders(root: Path, counts: dict[str, int], colour: bool = False) -> Path:
    """`root/<class>/<n>.png`."""
    for label, count in counts.items():
        (root / label).mkdir(parents=True)
        for number in range(count):
            picture(number, colour=colour).save(root / label / f"{number:03}.png")
    return root


def manifest(root: Path, header: str, *lines: str) -> Path:
    """Writes manifest.csv and an image for each line's first cell."""
    for number, line in enumerate(lines):
        path = root / line.split(",")[0]
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix == ".png":
            picture(number).save(path)
    (root / "manifest.csv").write_text("\n".join([header, *lines]) + "\n")
    return root
