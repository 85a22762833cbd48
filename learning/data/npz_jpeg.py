"""CIFAR-10 as an npz of JPEG bytes: `train_jpeg`, `train_offsets`, `train_labels`, and for test."""

from __future__ import annotations

import io
from functools import cached_property

import numpy as np
from PIL import Image

from learning.data.base import DataError, Dataset, Index, Unreadable, agreed
from learning.data.cifar import CLASSES
from learning.data.npz import Archive, archive_of
from learning.data.source import Format, Source


def recognises(source: Source) -> bool:
    archive = archive_of(source.path)
    return archive is not None and "train_jpeg" in archive.names


def open_jpeg_archive(source: Source) -> Dataset:
    """The training part, and the test part if it is there."""
    archive = Archive.of(source.path)
    names = agreed(source.classes, CLASSES, str(archive.path))
    channels, image_size = source.channels or 3, source.image_size

    def part(which: str) -> Index:
        labels = archive.labels(f"{which}_labels", len(CLASSES))
        return Index(labels, _Jpegs(archive, which, len(labels)), image_size, channels)

    test = part("test") if "test_jpeg" in archive.names else None
    return Dataset(archive.path.stem, names, channels, image_size, part("train"), test)


class _Jpegs:
    def __init__(self, archive: Archive, which: str, count: int) -> None:
        self.archive, self.which = archive, which
        offsets = archive.array(f"{which}_offsets")
        # compared and not subtracted: a difference of unsigned numbers is never below zero
        if (
            offsets.dtype.kind not in "iu"
            or offsets.shape != (count + 1,)
            or offsets[0] != 0
            or (offsets[1:] < offsets[:-1]).any()
        ):
            raise DataError(
                f"{archive.path}: {which}_offsets must be {count + 1} rising whole numbers, from"
                " 0 on."
            )
        self.offsets = offsets

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


FORMAT = Format(
    "npz-jpeg",
    "an npz with train_jpeg, train_offsets and train_labels (CIFAR-10)",
    recognises,
    open_jpeg_archive,
)
