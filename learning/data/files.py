"""Sets that are image files in a folder: what folder.py, manifest.py and covidx.py have in common.

Patients' identifiers do not leave this module: groups become opaque numbers, columns that could
identify are dropped, and a file name that holds its patient's identifier is not shown.
"""

from __future__ import annotations

import re
import warnings
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from learning.data import dicom
from learning.data.base import Dataset, Index, Unreadable, encode
from learning.data.source import Source

SUFFIXES = {
    ".jpg",
    ".jpeg",
    ".png",
    ".bmp",
    ".gif",
    ".tif",
    ".tiff",
    ".webp",
    ".jp2",
    ".pgm",
    ".ppm",
} | dicom.SUFFIXES
# Only formats that are pixels: Pillow's full list has some that start other programs.
Image.init()
PILLOW_FORMATS: list[str] = [
    f for f in ("JPEG", "PNG", "BMP", "GIF", "TIFF", "WEBP", "JPEG2000", "PPM") if f in Image.OPEN
]

_WORD = re.compile(r"[^\W_]+")
_IDENTIFYING = re.compile(
    r"^(id|name|file|path|uid)$|(^|_)(patient|subject|person|mrn|birth|dob|accession|uid|sha256|md5|hash|digest)(_|$)"
    r"|^(original|file|image|study|series|first|last|full|given|family)_?(name|id|number|path|file)$"
)


@dataclass(frozen=True)
class Entry:
    """One image file.

    Attributes:
        path: The file.
        label: Its class name.
        identities: Raw values (kind, value) of the patient or group that it belongs to. They do not
            leave this package.
        secrets: Further words that must not be shown. They do not leave this package either.
        columns: What else the manifest says, by column.
    """

    path: Path
    label: str
    identities: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    secrets: tuple[str, ...] = field(default=(), repr=False)
    columns: dict[str, str] = field(default_factory=dict, repr=False)


def build(
    source: Source,
    parts: tuple[Sequence[Entry], Sequence[Entry]],
    known: Sequence[str] | None = None,
) -> Dataset:
    """The Dataset of a source's files: entries of the training and of the test part.

    `known`: classes that exist even if they have no image.
    """
    root, image_size, classes = source.path, source.image_size, source.classes
    both = [*parts[0], *parts[1]]
    if classes is None and known:
        classes = tuple(sorted(set(known) | {entry.label for entry in both}))
    labels, names = encode([entry.label for entry in both], classes, str(root))
    groups = opaque_groups([entry.identities for entry in both])
    columns = harmless_columns(both)
    channels = source.channels or guess_channels([entry.path for entry in both])

    def part(start: int, stop: int) -> Index:
        rows = slice(start, stop)
        return Index(
            labels[rows],
            FileReader(root, both[rows], image_size, start),
            image_size,
            channels,
            None if groups is None else groups[rows],
            {name: values[rows] for name, values in columns.items()},
        )

    middle = len(parts[0])
    return Dataset(
        root.name,
        names,
        channels,
        image_size,
        part(0, middle),
        part(middle, len(both)) if parts[1] else None,
    )


class FileReader:
    """Reads image files with Pillow, DICOM files with pydicom."""

    def __init__(
        self, root: Path, entries: Sequence[Entry], image_size: int, first_number: int
    ) -> None:
        self.root, self.entries, self.image_size, self.first_number = (
            root,
            entries,
            image_size,
            first_number,
        )

    def read(self, row: int) -> Image.Image | np.ndarray:
        path = self.entries[row].path
        try:
            if dicom.is_dicom(path):
                return dicom.read(path)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                with Image.open(path, formats=PILLOW_FORMATS) as picture:
                    # libjpeg may skip detail of a large photograph: still the whole frame, never
                    # below twice the size
                    picture.draft(None, (2 * self.image_size, 2 * self.image_size))
                    picture.load()
            return picture
        except Unreadable:
            raise
        except FileNotFoundError:
            raise Unreadable("the file is gone") from None
        except Exception as error:  # decoders of damaged files raise whatever they like
            raise Unreadable(f"does not decode as an image ({type(error).__name__})") from None

    def name(self, row: int) -> str:
        entry = self.entries[row]
        shown = entry.path.relative_to(self.root).as_posix()
        values = [*(value for _, value in entry.identities), *entry.secrets]
        if any(holds(shown, value) for value in values):
            return (
                f"image {self.first_number + row + 1} (its file name holds the patient's"
                " identifier)"
            )
        return shown

    def stamp(self, row: int) -> str:
        path = self.entries[row].path
        try:
            stat = path.stat()
        except OSError:
            return f"{path}:gone"
        return f"{path}:{stat.st_size}:{stat.st_mtime_ns}"


def words(text: str) -> str:
    """Return the words in lower case, a space around each, so that `in` compares whole words."""
    return f" {' '.join(_WORD.findall(text.lower()))} "


def holds(text: str, identifier: str) -> bool:
    """Return True if `identifier` occurs in `text` as whole words in any case and punctuation."""
    wanted = words(identifier)
    return bool(wanted.strip()) and wanted in words(text)


def opaque_groups(identities: Sequence[tuple[tuple[str, str], ...]]) -> np.ndarray | None:
    """One opaque name per image; None if no image has an identity.

    Names are equal for images that share any identity, also through a third image. They are
    numbered in order of appearance, so that they do not show even the identifiers' order.
    """
    numbers: dict[tuple[str, str], int] = {}
    pairs = [
        (row, numbers.setdefault(i, len(numbers)))
        for row, own in enumerate(identities)
        for i in own
    ]
    if not pairs:
        return None
    rows, ids = np.array(pairs).T
    size = len(identities) + len(numbers)
    graph = coo_array((np.ones(len(pairs)), (rows, len(identities) + ids)), shape=(size, size))
    component = connected_components(graph, directed=False)[1][: len(identities)]
    _, first, inverse = np.unique(component, return_index=True, return_inverse=True)
    rank = np.empty(len(first), np.int64)
    rank[np.argsort(first)] = np.arange(len(first))
    return np.array([f"g{number}" for number in rank[inverse]])


def harmless_columns(entries: Sequence[Entry]) -> dict[str, list[str]]:
    """The columns that describe images and do not identify patients.

    A column is dropped if its name speaks of an identifier, file or digest, or if more than one in
    fifty of its cells contains the identifier of that row's patient.
    """
    kept = {}
    identities = [
        [w for v in (*(v for _, v in e.identities), *e.secrets) if (w := words(v)).strip()]
        for e in entries
    ]
    for name in entries[0].columns if entries else ():
        values = [entry.columns.get(name, "") for entry in entries]
        if _IDENTIFYING.search(name.strip().lower()):
            continue
        cells = [
            (words(value), own)
            for value, own in zip(values, identities, strict=True)
            if own and value
        ]
        holding = sum(any(identity in cell for identity in own) for cell, own in cells)
        if holding * 50 <= len(cells):
            kept[name] = values
    return kept


def guess_channels(paths: Sequence[Path]) -> int:
    """3 if the headers of most of up to 16 files, spread over the set, say colour; otherwise 1."""
    modes: Counter[bool] = Counter()
    for place in np.unique(np.linspace(0, len(paths) - 1, 16).astype(int)) if paths else ():
        path = paths[place]
        try:
            if dicom.is_dicom(path):
                modes[False] += 1
                continue
            with Image.open(path, formats=PILLOW_FORMATS) as picture:
                modes[picture.mode in ("RGB", "RGBA", "P", "CMYK", "YCbCr", "LAB", "HSV")] += 1
        # a damaged file votes for neither; it is skipped and named when it is loaded
        except Exception:
            continue
    return 3 if modes[True] > modes[False] else 1
