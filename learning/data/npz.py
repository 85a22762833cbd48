"""npz archives, opened without pickle: what the formats in such files have in common."""

from __future__ import annotations

import zipfile
import zlib
from functools import cached_property
from pathlib import Path

import numpy as np

from learning.data.base import DataError, Dataset, reading
from learning.data.source import Format, Source


def archive_of(path: Path) -> Archive | None:
    """The npz file, or the only one of a folder; None if there is none.

    Raises:
        DataError: If the folder holds several, or the file is not a whole npz file.
    """
    found = [path] if path.suffix == ".npz" and path.is_file() else sorted(path.glob("*.npz"))
    if len(found) > 1:
        raise DataError(
            f"{path} holds {len(found)} npz files; name one of them:"
            f" {', '.join(one.name for one in found)}."
        )
    return Archive(found[0]) if found else None


def recognises(source: Source) -> bool:
    return archive_of(source.path) is not None


def refuse(source: Source) -> Dataset:
    """Raises DataError: none of the formats before this one knows the file's arrays."""
    archive = Archive.of(source.path)
    raise DataError(
        f"{archive.path} is neither MedMNIST's npz (train_images, train_labels, ...) nor one of"
        " JPEG bytes (train_jpeg, train_offsets, train_labels, ...); it holds:"
        f" {', '.join(sorted(archive.names)) or 'nothing'}."
    )


class Archive:
    """One npz file. Arrays are read when they are asked for; pickled objects are refused."""

    @classmethod
    def of(cls, path: Path) -> Archive:
        """The archive that `archive_of` finds; for sources in which it was found before."""
        found = archive_of(path)
        if found is None:
            raise DataError(f"{path} holds no npz file.")
        return found

    def __init__(self, path: Path) -> None:
        self.path = path
        with reading(path):
            stat = path.stat()
            self.stamp = f"{path}:{stat.st_size}:{stat.st_mtime_ns}"
            try:
                with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
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
                with self.path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
                    array: np.ndarray = archive[name]
                    return array
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
        image: np.ndarray = self.pixels[row]
        return image

    def name(self, row: int) -> str:
        return f"{self.archive.path.name}, {self.array_name} {row}"

    def stamp(self, row: int) -> str:
        return f"{self.archive.stamp}:{self.array_name}:{row}"


FORMAT = Format("npz", "an npz of another kind, which is refused", recognises, refuse)
