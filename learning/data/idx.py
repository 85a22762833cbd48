"""Reads idx files, the format of MNIST and Fashion-MNIST, plain or gzip-compressed.

A file holds a magic number, the dimensions as big-endian 32-bit numbers, and one byte for each
pixel or label (http://yann.lecun.com/exdb/mnist). The class names of Fashion-MNIST are those
of Xiao et al. 2017, arXiv 1708.07747.
"""

from __future__ import annotations

import gzip
import struct
from functools import cached_property
from pathlib import Path
from typing import BinaryIO, cast

import numpy as np

from learning.data.base import DataError, Dataset, Index, agreed, reading
from learning.data.source import Format, Source

FASHION = (
    "t-shirt",
    "trouser",
    "pullover",
    "dress",
    "coat",
    "sandal",
    "shirt",
    "sneaker",
    "bag",
    "ankle-boot",
)
IMAGES, LABELS = 0x00000803, 0x00000801  # unsigned bytes in 3 dimensions, and in 1


def recognises(source: Source) -> bool:
    """Return True if the folder has one of the two training files: `open_idx` names the other."""
    folder = source.path
    return any(_find(folder, "train", kind) is not None for kind in ("images", "labels"))


def open_idx(source: Source) -> Dataset:
    """Open the folder's `train-*` files, and its `t10k-*` files as the test part if it has them.

    Raises:
        DataError: If a training file is missing, or a file is not as the format says.
    """
    folder = source.path
    train_files, test_files = _pair(folder, "train"), _pair(folder, "t10k")
    if train_files is None:
        raise DataError(
            f"{folder} needs both train-images-idx3-ubyte and train-labels-idx1-ubyte (either may"
            " be .gz)."
        )
    train_labels = _labels(train_files[1])
    test_labels = _labels(test_files[1]) if test_files else np.zeros(0, np.int64)
    count = int(max(train_labels.max(initial=0), test_labels.max(initial=0))) + 1
    own = (
        FASHION
        if "fashion" in folder.name.lower() and count <= 10
        else tuple(str(i) for i in range(count))
    )
    names = agreed(source.classes, own, str(folder))
    channels, image_size = source.channels or 1, source.image_size

    def part(files: tuple[Path, Path], labels: np.ndarray) -> Index:
        return Index(labels, _Reader(files[0], len(labels)), image_size, channels)

    return Dataset(
        folder.name,
        names,
        channels,
        image_size,
        part(train_files, train_labels),
        part(test_files, test_labels) if test_files else None,
    )


class _Reader:
    """The images of one file. They are read when the first one is asked for."""

    def __init__(self, path: Path, count: int) -> None:
        self.path, self.count = path, count
        self.shape = _header(path, IMAGES)
        if self.shape[0] != count:
            raise DataError(
                f"{path} holds {self.shape[0]} images, but its label file holds {count} labels."
            )

    @cached_property
    def pixels(self) -> np.ndarray:
        return np.frombuffer(_body(self.path, IMAGES), np.uint8).reshape(self.shape)

    def read(self, row: int) -> np.ndarray:
        image: np.ndarray = self.pixels[row]
        return image

    def name(self, row: int) -> str:
        return f"{self.path.name}, image {row}"

    @cached_property
    def _stamp(self) -> str:
        stat = self.path.stat()
        return f"{self.path}:{stat.st_size}:{stat.st_mtime_ns}"

    def stamp(self, row: int) -> str:
        return f"{self._stamp}:{row}"


def _find(folder: Path, part: str, kind: str) -> Path | None:
    """Return the file of `part` (train, t10k) and `kind` (images, labels), or None."""
    rank = 3 if kind == "images" else 1
    names = [f"{part}-{kind}{dot}idx{rank}-ubyte{end}" for dot in "-." for end in ("", ".gz")]
    return next((folder / name for name in names if (folder / name).is_file()), None)


def _pair(folder: Path, part: str) -> tuple[Path, Path] | None:
    """Return the files of images and labels of `part`; None if one of them is missing."""
    images, labels = _find(folder, part, "images"), _find(folder, part, "labels")
    return (images, labels) if images and labels else None


def _open(path: Path) -> BinaryIO:
    return cast(BinaryIO, gzip.open(path) if path.suffix == ".gz" else path.open("rb"))


def _header(path: Path, magic: int) -> tuple[int, ...]:
    """Return the dimensions that the file's header names.

    Raises:
        DataError: If the file is shorter than its header, or has another magic number.
    """
    rank = magic & 0xFF
    with reading(path), _open(path) as file:
        head = file.read(4 + 4 * rank)
    if len(head) < 4 + 4 * rank:
        raise DataError(f"{path} is truncated: {len(head)} bytes are too few for an idx header.")
    found, *shape = struct.unpack(f">{1 + rank}I", head)
    if found != magic:
        raise DataError(
            f"{path} is not an idx file of the kind expected: its magic number is {found:#010x},"
            f" not {magic:#010x}."
        )
    return tuple(shape)


def _body(path: Path, magic: int) -> bytes:
    """Return the bytes after the header.

    Raises:
        DataError: If there are more or fewer of them than the dimensions say.
    """
    shape = _header(path, magic)
    size = int(np.prod(shape, dtype=object))
    with reading(path), _open(path) as file:
        body = file.read()[4 + 4 * len(shape) :]
    if len(body) != size:
        what = "truncated" if len(body) < size else "longer than its header says"
        raise DataError(f"{path} is {what}: its header announces {size} bytes.")
    return body


def _labels(path: Path) -> np.ndarray:
    return np.frombuffer(_body(path, LABELS), np.uint8).astype(np.int64)


FORMAT = Format(
    "idx", "MNIST's files: train-images-idx3-ubyte and the like, plain or .gz", recognises, open_idx
)
