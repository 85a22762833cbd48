"""CIFAR-10: its binary batches, or an npz that holds the images as JPEG bytes (`train_jpeg`,
`train_offsets`, `train_labels`, ...).

Krizhevsky 2009. The python batches are pickles, which can run code when they are read: refused.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

import numpy as np
from PIL import Image

from learning.data.base import DataError, Dataset, Index, Unreadable, agreed, reading
from learning.data.npz import Archive

CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
RECORD = 1 + 3 * 32 * 32  # a label, then the red, green and blue planes
BINARY, PYTHON = "cifar-10-batches-bin", "cifar-10-batches-py"


def recognises(folder: Path) -> bool:
    return any(any(_inside(folder, name).glob("data_batch_*")) for name in (BINARY, PYTHON))


def open_batches(
    folder: Path, image_size: int, channels: int | None, classes: Sequence[str] | None
) -> Dataset:
    """`data_batch_1.bin` ... and `test_batch.bin`, here or in the folder that the download unpacks
    to.
    """
    place = _inside(folder, BINARY)
    train = sorted(place.glob("data_batch_*.bin"))
    if not train:
        raise DataError(
            f"{folder} holds CIFAR-10's python batches, which are pickles and can run code when"
            " read: take the binary version (cifar-10-binary.tar.gz, files data_batch_1.bin to"
            " test_batch.bin) instead."
        )
    test = sorted(place.glob("test_batch.bin"))
    names, channels = agreed(classes, CLASSES, str(folder)), channels or 3

    def part(paths: list[Path]) -> Index:
        reader = _Batches(paths)
        return Index(reader.labels(), reader, image_size, channels)

    return Dataset(
        folder.name, names, channels, image_size, part(train), part(test) if test else None
    )


def open_jpeg_archive(
    archive: Archive, image_size: int, channels: int | None, classes: Sequence[str] | None
) -> Dataset:
    """The npz; called by npz.py, which recognises it."""
    names, channels = agreed(classes, CLASSES, str(archive.path)), channels or 3

    def part(which: str) -> Index:
        labels = archive.labels(f"{which}_labels", len(CLASSES))
        return Index(labels, _Jpegs(archive, which, len(labels)), image_size, channels)

    test = part("test") if "test_jpeg" in archive.names else None
    return Dataset(archive.path.stem, names, channels, image_size, part("train"), test)


def _inside(folder: Path, name: str) -> Path:
    return folder / name if (folder / name).is_dir() else folder


class _Batches:
    def __init__(self, paths: list[Path]) -> None:
        self.paths = paths
        for path in paths:
            size = path.stat().st_size
            if not size or size % RECORD:
                raise DataError(
                    f"{path} is truncated: {size} bytes are not a multiple of {RECORD}, one"
                    " CIFAR-10 image."
                )
        self.maps = []
        for path in paths:
            with reading(path):
                self.maps.append(np.memmap(path, np.uint8, "r").reshape(-1, RECORD))
        self.starts = np.cumsum([0] + [len(one) for one in self.maps])

    def labels(self) -> np.ndarray:
        labels = np.concatenate([one[:, 0] for one in self.maps]).astype(np.int64)
        if labels.max() >= len(CLASSES):
            raise DataError(
                f"{self.paths[0].parent} holds a label above 9: these are not CIFAR-10's binary"
                " batches."
            )
        return labels

    def _place(self, row: int) -> tuple[int, int]:
        batch = int(np.searchsorted(self.starts, row, side="right")) - 1
        return batch, row - int(self.starts[batch])

    def read(self, row: int) -> np.ndarray:
        batch, place = self._place(row)
        return np.ascontiguousarray(
            self.maps[batch][place, 1:].reshape(3, 32, 32).transpose(1, 2, 0)
        )

    def name(self, row: int) -> str:
        batch, place = self._place(row)
        return f"{self.paths[batch].name}, image {place}"

    @cached_property
    def _stamps(self) -> list[str]:
        return [f"{path}:{path.stat().st_size}:{path.stat().st_mtime_ns}" for path in self.paths]

    def stamp(self, row: int) -> str:
        batch, place = self._place(row)
        return f"{self._stamps[batch]}:{place}"


class _Jpegs:
    def __init__(self, archive: Archive, which: str, count: int) -> None:
        self.archive, self.which = archive, which
        self.offsets = archive.array(f"{which}_offsets")
        if (
            self.offsets.shape != (count + 1,)
            or self.offsets[0] != 0
            or (np.diff(self.offsets) < 0).any()
        ):
            raise DataError(
                f"{archive.path}: {which}_offsets must be {count + 1} rising numbers, from 0 on."
            )

    @cached_property
    def bytes(self) -> np.ndarray:
        found = self.archive.array(f"{self.which}_jpeg")
        if found.dtype != np.uint8 or found.ndim != 1 or len(found) != self.offsets[-1]:
            raise DataError(
                f"{self.archive.path}: {self.which}_jpeg is not as long as {self.which}_offsets"
                " says."
            )
        return found

    def read(self, row: int) -> Image.Image:
        data = self.bytes[self.offsets[row] : self.offsets[row + 1]].tobytes()
        try:
            picture = Image.open(io.BytesIO(data), formats=("JPEG", "PNG"))
            picture.load()
            return picture
        except Exception as error:  # decoders of damaged files raise whatever they like
            raise Unreadable(f"does not decode as an image ({type(error).__name__})") from None

    def name(self, row: int) -> str:
        return f"{self.archive.path.name}, {self.which} image {row}"

    def stamp(self, row: int) -> str:
        return f"{self.archive.stamp}:{self.which}:{row}"
