"""Image sets that are in memory: a caller's own arrays or tensors."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
import torch

from learning.data.base import DataError, Dataset, Index
from learning.data.files import opaque_groups

Given: TypeAlias = "np.ndarray | torch.Tensor | Sequence[Any]"


def arrays(
    x: Given,
    y: Given,
    classes: Sequence[str] | None = None,
    groups: Sequence[Any] | np.ndarray | None = None,
    columns: Mapping[str, Sequence[Any]] | None = None,
    *,
    test: tuple[Given, Given] | None = None,
    image_size: int | None = None,
    name: str = "arrays",
) -> Dataset:
    """Make an image set of arrays or tensors.

    Args:
        x: Images, N x H x W (grey) or N x C x H x W with 1 or 3 channels: uint8 in 0..255, or
            floats in 0..1, which are rounded to 256 levels.
        y: N labels, whole numbers from 0: positions in `classes`.
        classes: Names of the classes; None: "0", "1", ... up to the largest label.
        groups: N values, equal for images that must stay together (one patient's); they may be
            identifiers: only which are equal is kept.
        columns: Further facts by name, N values each, to divide by (`partition="by:site"`).
        test: Images and labels for the global test.
        image_size: Pixels a side to resize to; None: the images' own, which must be square.
        name: What summaries call the set.

    Raises:
        DataError: If shapes, types, values or lengths do not fit; one sentence.

    Example:
        >>> import numpy as np
        >>> x = np.zeros((4, 32, 32), np.uint8)
        >>> arrays(x, [0, 1, 0, 1], classes=("normal", "ill")).train.image_size
        32
    """
    pixels = _pixels(x, "x")
    labels = _labels(y, len(pixels), "y")
    tested = None
    if test is not None:
        if len(test) != 2:
            raise DataError("test must be a pair: images and labels.")
        tested = _pixels(test[0], "test images"), _labels(test[1], len(test[0]), "test labels")
    highest = max(
        int(part.max()) for part in (labels, *([tested[1]] if tested else [])) if len(part)
    )
    names = _names(classes, highest)
    side = _side(pixels, image_size)
    if groups is not None and len(groups) != len(pixels):
        raise DataError(f"There are {len(pixels)} images but {len(groups)} groups.")
    facts = {key: [str(value) for value in values] for key, values in (columns or {}).items()}
    for key, values in facts.items():
        if len(values) != len(pixels):
            raise DataError(f"There are {len(pixels)} images but {len(values)} values of {key!r}.")
    channels = pixels.shape[1]
    train = Index(
        labels,
        _Reader(pixels),
        side,
        channels,
        None if groups is None else opaque_groups([(("group", str(one)),) for one in groups]),
        facts,
    )
    held = None if tested is None else Index(tested[1], _Reader(tested[0]), side, channels)
    return Dataset(name, names, channels, side, train, held)


def _plain(value: Given, what: str) -> np.ndarray:
    if isinstance(value, torch.Tensor):
        value = value.detach().cpu()
        # numpy has no bfloat16
        return np.asarray(value.float() if value.dtype == torch.bfloat16 else value)
    try:
        return np.asarray(value)
    except ValueError:
        raise DataError(f"{what} holds rows of different lengths; it must be one array.") from None


def _pixels(x: Given, what: str) -> np.ndarray:
    """uint8, N x C x H x W."""
    found = _plain(x, what)
    if found.ndim == 3:
        found = found[:, None]
    if found.ndim == 4 and found.shape[1] not in (1, 3) and found.shape[3] in (1, 3):
        raise DataError(
            f"{what} has the shape {_shape(found)}, with the channels last; move them with"
            " numpy.moveaxis(x, 3, 1) or x.permute(0, 3, 1, 2)."
        )
    if found.ndim != 4 or found.shape[1] not in (1, 3):
        raise DataError(
            f"{what} has the shape {_shape(_plain(x, what))}; it must be N x H x W, or"
            " N x C x H x W with 1 or 3 channels."
        )
    if not found.size:
        raise DataError(f"{what} holds no image.")
    if found.dtype == np.uint8:
        return found
    if found.dtype.kind != "f":
        raise DataError(f"{what} is {found.dtype}; it must be uint8 in 0..255, or floats in 0..1.")
    low, high = float(found.min()), float(found.max())
    if not (low >= 0 and high <= 1):
        raise DataError(
            f"{what} has floats from {low:.3g} to {high:.3g}; they must be in 0..1 (uint8 goes from"
            " 0 to 255)."
        )
    return np.asarray(np.rint(found * 255), np.uint8)


def _labels(y: Given, images: int, what: str) -> np.ndarray:
    """int64, N."""
    found = _plain(y, what)
    if found.ndim != 1:
        raise DataError(
            f"{what} has the shape {_shape(found)}; it must hold one label for each image."
        )
    if len(found) != images:
        raise DataError(f"There are {images} images but {len(found)} labels.")
    if found.dtype.kind not in "iu":
        raise DataError(f"{what} is {found.dtype}; labels are whole numbers from 0.")
    if found.min() < 0:
        raise DataError(f"{what} holds the label {found.min()}; labels are whole numbers from 0.")
    return found.astype(np.int64)


def _names(classes: Sequence[str] | None, highest: int) -> tuple[str, ...]:
    if isinstance(classes, str):
        raise DataError(f"classes must be a sequence of names, not the text {classes!r}.")
    names = tuple(classes if classes is not None else (str(n) for n in range(highest + 1)))
    if len(set(names)) != len(names):
        raise DataError(f"classes hold a name twice: {', '.join(names)}.")
    if highest >= len(names):
        raise DataError(
            f"There is a label {highest}, but {len(names)} classes ({', '.join(names)}): labels go"
            f" from 0 to {len(names) - 1}."
        )
    return names


def _side(pixels: np.ndarray, image_size: int | None) -> int:
    height, width = pixels.shape[2:]
    if image_size is None and height != width:
        raise DataError(
            f"The images have {height} x {width} pixels; give image_size, to which they are"
            " resized as squares."
        )
    side = height if image_size is None else image_size
    if not 8 <= side <= 1024:
        raise DataError(f"Images must have 8 to 1024 pixels a side, not {side}; give image_size.")
    return int(side)


def _shape(found: np.ndarray) -> str:
    return " x ".join(map(str, found.shape)) or "of a single number"


class _Reader:
    def __init__(self, pixels: np.ndarray) -> None:
        self.pixels = pixels

    def read(self, row: int) -> np.ndarray:
        image: np.ndarray = self.pixels[row]
        return image[0] if len(image) == 1 else np.ascontiguousarray(image.transpose(1, 2, 0))

    def name(self, row: int) -> str:
        return f"image {row}"

    def stamp(self, row: int) -> str:
        return hashlib.sha256(np.ascontiguousarray(self.pixels[row]).tobytes()).hexdigest()
