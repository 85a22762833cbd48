"""npz archives: opened without pickle, and handed to the format that their arrays' names speak of."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

import numpy as np

from learning.data.base import DataError, Dataset, reading


def recognises(path: Path) -> bool:
    return path.suffix == ".npz" or len(list(path.glob("*.npz"))) > 0


def open_npz(
    path: Path, image_size: int, channels: int | None, classes: Sequence[str] | None
) -> Dataset:
    """An npz file, or the only one of a folder."""
    from learning.data import cifar, medmnist

    found = [path] if path.is_file() else sorted(path.glob("*.npz"))
    if len(found) > 1:
        raise DataError(
            f"{path} holds {len(found)} npz files; name one of them:"
            f" {', '.join(one.name for one in found)}."
        )
    archive = Archive(found[0])
    for needed, opener in (
        ("train_jpeg", cifar.open_jpeg_archive),
        ("train_images", medmnist.open_medmnist),
    ):
        if needed in archive.names:
            return opener(archive, image_size, channels, classes)
    raise DataError(
        f"{archive.path} is neither MedMNIST's npz (train_images, train_labels, ...) nor one of"
        " JPEG bytes (train_jpeg, train_offsets, train_labels, ...); it holds:"
        f" {', '.join(sorted(archive.names)) or 'nothing'}."
    )


class Archive:
    """One npz file. Arrays are read when they are asked for; arrays of Python objects, which are
    pickles, are refused.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        with reading(path):
            stat = path.stat()
            self.stamp = f"{path}:{stat.st_size}:{stat.st_mtime_ns}"
            try:
                with np.load(path, allow_pickle=False) as archive:
                    self.names = tuple(archive.files)
            except (zipfile.BadZipFile, ValueError, AttributeError, TypeError):
                raise DataError(f"{path} is not an npz file, or not a whole one.") from None

    def array(self, name: str) -> np.ndarray:
        if name not in self.names:
            raise DataError(
                f"{self.path} has no array {name!r}; it holds: {', '.join(sorted(self.names))}."
            )
        with reading(self.path):
            try:
                with np.load(self.path, allow_pickle=False) as archive:
                    return archive[name]
            except (zipfile.BadZipFile, zlib.error, ValueError, EOFError):
                raise DataError(
                    f"{self.path}: the array {name!r} is damaged, or holds Python objects."
                ) from None

    def labels(self, name: str, classes: int | None = None) -> np.ndarray:
        """int64, N, from an array of N or N x 1 whole numbers, at least 0 and below `classes`."""
        found = self.array(name)
        if found.ndim == 2 and found.shape[1] > 1:
            raise DataError(
                f"{self.path}: {name} has {found.shape[1]} labels per image; only sets with one are"
                " supported."
            )
        found = found.reshape(-1)
        if (
            not len(found)
            or found.dtype.kind not in "iu"
            or found.min() < 0
            or found.max() >= (classes or 1000)
        ):
            raise DataError(
                f"{self.path}: {name} must hold whole numbers from 0 to {(classes or 1000) - 1}."
            )
        return found.astype(np.int64)


class Pixels:
    """Rows of an archive's array of N x H x W or N x H x W x 3 uint8."""

    def __init__(self, archive: Archive, name: str, count: int) -> None:
        self.archive, self.array_name, self.count = archive, name, count

    @cached_property
    def pixels(self) -> np.ndarray:
        found = self.archive.array(self.array_name)
        if found.dtype != np.uint8 or not (
            found.ndim == 3 or (found.ndim == 4 and found.shape[3] == 3)
        ):
            raise DataError(
                f"{self.archive.path}: {self.array_name} must be uint8, images x height x width"
                " (x 3)."
            )
        if len(found) != self.count:
            raise DataError(
                f"{self.archive.path}: {self.array_name} has {len(found)} images, but there are"
                f" {self.count} labels."
            )
        return found

    def read(self, row: int) -> np.ndarray:
        return self.pixels[row]

    def name(self, row: int) -> str:
        return f"{self.archive.path.name}, {self.array_name} {row}"

    def stamp(self, row: int) -> str:
        return f"{self.archive.stamp}:{self.array_name}:{row}"
