"""What all image sets have in common: labels first, pixels only when they are asked for.

A format opens its files as a `Dataset`; the pixels come from its `Reader`. Resizing, colour,
skipping what does not decode, and the cache are the same for all formats.
"""

from __future__ import annotations

import contextlib
import gzip
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from PIL import Image

from learning.data import cache as cache_file


class DataError(ValueError):
    """The data is not as it should be; the text is one sentence without a patient's identifier."""

    exit_code = 2


class Unreadable(Exception):
    """One image cannot be used; the text says why and names neither file nor patient."""


@dataclass(frozen=True)
class Skipped:
    """An image that was left out: its file name (or number) inside the set, and why."""

    name: str
    reason: str


@dataclass(frozen=True)
class Images:
    """Decoded images.

    Attributes:
        images: uint8, N x C x H x W, 0..255.
        labels: int64, N.
        kept_rows: int64, N: the rows of the Index, without those that were skipped.
        skipped: What was left out, in the order of the rows.
    """

    images: torch.Tensor
    labels: torch.Tensor
    kept_rows: np.ndarray
    skipped: list[Skipped]


class Reader(Protocol):
    """How one format finds its pixels. Rows are 0..N-1 in the order of the Index's labels."""

    def read(self, row: int) -> Image.Image | np.ndarray:
        """The image, as Pillow's or as uint8, H x W (grey) or H x W x 3 (colour).

        Raises:
            Unreadable: If this image cannot be used.
            DataError: If the whole set is broken.
        """

    def name(self, row: int) -> str:
        """A name that may be shown to the user: it holds no patient's identifier."""

    def stamp(self, row: int) -> str:
        """A text that changes when the row's image does. It is hashed and not kept."""


@dataclass(frozen=True)
class Index:
    """One part (train or test) of a set, known without its pixels.

    Attributes:
        labels: int64, N, positions in `Dataset.classes`.
        reader: Where the pixels come from.
        image_size: Pixels a side that `load` resizes to.
        channels: 1 (grey) or 3 (colour).
        groups: N opaque strings, equal for images that must stay together (one patient or scene);
            None if nothing is known.
        columns: What else the manifest says, N strings each, without what could identify a patient.
        cache: One file of decoded images. `load` reads it if it holds exactly the wanted images at
            this size, and writes it otherwise.
    """

    labels: np.ndarray
    reader: Reader = field(repr=False)
    image_size: int
    channels: int
    groups: np.ndarray | None = field(default=None, repr=False)
    columns: Mapping[str, list[str]] = field(default_factory=dict, repr=False)
    cache: Path | None = None

    def __len__(self) -> int:
        return len(self.labels)

    def select(self, rows: np.ndarray) -> Index:
        """Some rows as an Index of their own, without the cache."""
        return replace(
            self,
            labels=self.labels[rows],
            reader=_Selected(self.reader, rows),
            groups=None if self.groups is None else self.groups[rows],
            columns={name: [values[row] for row in rows] for name, values in self.columns.items()},
            cache=None,
        )

    def cached(self, path: Path | None) -> Index:
        """The same with `path` as its cache; None: without one."""
        return replace(self, cache=path)

    def load(self, rows: Sequence[int] | np.ndarray | None = None) -> Images:
        """Decode the given rows (all if None), each resized to image_size.

        Images that do not decode are skipped and listed.

        Raises:
            DataError: If not one of several wanted images can be used.
            IndexError: If a row does not exist.
        """
        rows = np.arange(len(self)) if rows is None else np.asarray(rows, dtype=np.int64)
        if rows.size and (rows.min() < 0 or rows.max() >= len(self)):
            raise IndexError(f"rows must be in 0..{len(self) - 1}")
        cache, key = self.cache, ""
        if cache is not None:
            key = cache_file.key(
                (self.reader.stamp(int(r)) for r in rows), self.image_size, self.channels
            )
            found = cache_file.read(cache, key, (self.channels, self.image_size, self.image_size))
            if found is not None:
                return self._images(rows, *found)
        pixels = np.empty((len(rows), self.channels, self.image_size, self.image_size), np.uint8)
        reasons: dict[int, str] = {}
        for place, row in enumerate(rows):
            try:
                pixels[place - len(reasons)] = fit(
                    self.reader.read(int(row)), self.image_size, self.channels
                )
            except Unreadable as error:
                reasons[place] = str(error)
        pixels = pixels[: len(rows) - len(reasons)]
        if cache is not None:
            cache_file.write(cache, key, pixels, reasons)
        return self._images(rows, pixels, reasons)

    def _images(self, rows: np.ndarray, pixels: np.ndarray, reasons: dict[int, str]) -> Images:
        kept = np.delete(rows, list(reasons)).astype(np.int64)
        skipped = [
            Skipped(self.reader.name(int(rows[place])), reason)
            for place, reason in sorted(reasons.items())
        ]
        if skipped and not len(kept):
            raise DataError(
                f"Not one of {len(rows)} images can be used; the first, {skipped[0].name}:"
                f" {skipped[0].reason}."
            )
        return Images(
            torch.from_numpy(pixels),
            torch.from_numpy(self.labels[kept].astype(np.int64)),
            kept,
            skipped,
        )


class _Selected:
    """A Reader of some rows of another one."""

    def __init__(self, reader: Reader, rows: np.ndarray) -> None:
        self.reader, self.rows = reader, rows

    def read(self, row: int) -> Image.Image | np.ndarray:
        return self.reader.read(int(self.rows[row]))

    def name(self, row: int) -> str:
        return self.reader.name(int(self.rows[row]))

    def stamp(self, row: int) -> str:
        return self.reader.stamp(int(self.rows[row]))


@dataclass(frozen=True)
class Dataset:
    """An open image set: its name, its classes, and its one or two parts."""

    name: str
    classes: tuple[str, ...]
    channels: int
    image_size: int
    train: Index
    test: Index | None = None

    def resized(self, image_size: int) -> Dataset:
        """The same images, to be resized to `image_size` pixels a side when they are loaded."""
        train = replace(self.train, image_size=image_size)
        test = self.test and replace(self.test, image_size=image_size)
        return replace(self, image_size=image_size, train=train, test=test)

    def column(self, name: str) -> list[str]:
        """The training part's column `name`. Raises DataError, which lists the columns."""
        try:
            return self.train.columns[name]
        except KeyError:
            there = ", ".join(sorted(self.train.columns)) or "none"
            raise DataError(
                f"{self.name} has no column {name!r} to divide by; its columns are: {there}."
            ) from None


def fit(picture: Image.Image | np.ndarray, size: int, channels: int) -> np.ndarray:
    """One image as uint8, channels x size x size: the whole frame, resized to a square.

    The filter is Pillow's antialiased bilinear one.

    Colour to grey is ITU-R BT.601 luma (0.299 R + 0.587 G + 0.114 B, as Pillow does it); grey to
    colour repeats the channel; alpha is dropped; images of more than 8 bits are stretched so that
    their own darkest and brightest pixel become 0 and 255.
    """
    if isinstance(picture, np.ndarray):
        if picture.shape == (size, size) and channels == 1:
            return picture[None]
        if picture.shape == (size, size, 3) and channels == 3:
            return picture.transpose(2, 0, 1)
        picture = Image.fromarray(picture)
    if picture.mode[0] in "IF":
        picture = Image.fromarray(stretch(np.asarray(picture, dtype=np.float32)))
    mode = "L" if channels == 1 else "RGB"
    if picture.mode != mode:
        picture = picture.convert(mode)
    if picture.size != (size, size):
        picture = picture.resize((size, size), Image.Resampling.BILINEAR)
    array = np.asarray(picture)
    return array[None] if channels == 1 else array.transpose(2, 0, 1)


def stretch(values: np.ndarray, low: float | None = None, high: float | None = None) -> np.ndarray:
    """Any numbers to uint8: `low` becomes 0 and `high` becomes 255; values beyond are clipped.

    None stands for the smallest or the largest finite value.
    """
    values = np.nan_to_num(values.astype(np.float32), nan=0.0, posinf=0.0, neginf=0.0)
    low = float(values.min()) if low is None else low
    high = float(values.max()) if high is None else high
    return np.clip((values - low) * (255.0 / max(high - low, 1e-6)) + 0.5, 0, 255).astype(np.uint8)


def encode(
    names: Sequence[str], classes: Sequence[str] | None, where: str
) -> tuple[np.ndarray, tuple[str, ...]]:
    """Class names to labels, and the classes: the agreed ones, or the sorted names if None.

    Raises:
        DataError: If there is no class, or a name is not among the agreed ones.
    """
    known = tuple(classes) if classes is not None else tuple(sorted(set(names)))
    if not known:
        raise DataError(f"{where} has no classes.")
    number = {name: i for i, name in enumerate(known)}
    strange = sorted(set(names) - set(known))
    if strange:
        raise DataError(
            f"{where} has images of class {', '.join(strange)}, but the agreed classes are"
            f" {', '.join(known)}."
        )
    return np.array([number[name] for name in names], dtype=np.int64), known


def agreed(classes: Sequence[str] | None, own: Sequence[str], where: str) -> tuple[str, ...]:
    """The federation's class names, for formats whose files hold numbers only; None: `own`.

    Raises:
        DataError: If there are not as many agreed names as own ones.
    """
    if classes is not None and len(classes) != len(own):
        raise DataError(
            f"{where} has {len(own)} classes, but {len(classes)} were agreed"
            f" ({', '.join(classes)})."
        )
    return tuple(classes if classes is not None else own)


@contextlib.contextmanager
def reading(path: Path) -> Iterator[None]:
    """Turn what the file system or a decompressor raises into a DataError of one sentence."""
    try:
        yield
    except (gzip.BadGzipFile, EOFError, zlib.error):
        raise DataError(f"{path} is truncated or damaged; fetch it again.") from None
    except OSError as error:
        raise DataError(
            f"{path} cannot be read: {error.strerror or type(error).__name__}."
        ) from None
