"""`phantom-cxr`: drawn chest radiographs, so that everything runs without a file. Not medical data;
our own drawing.

Three classes: `normal`; `pneumonia`, one dense consolidation in one lobe; `covid19`, several faint
ground-glass patches in the outer lower parts of both lungs. Anatomy varies by patient, position and
breathing by image, and the look by site (scanner). Every image is brought to a mean and contrast
drawn without regard to its class, so that brightness does not tell.

An image depends only on (seed, part, patient, view) and its size, never on which other rows are
loaded.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from learning.data.base import DataError, Dataset, Index, agreed
from learning.data.phantom_drawing import Body, Scanner
from learning.data.source import Format, Source

NAME = "phantom-cxr"
CLASSES = ("normal", "pneumonia", "covid19")
SITES = tuple(f"site-{letter}" for letter in "abcdefgh")
TRAIN_IMAGES = 3000  # about; a quarter as many to test
_PATIENT, _VIEW, _SITE, _TABLE = 1, 2, 3, 4  # streams of the seed


def recognises(source: Source) -> bool:
    return source.spec.split(":")[0] == NAME


def open_phantom(source: Source) -> Dataset:
    """`phantom-cxr` or `phantom-cxr:N`. No patient is in both parts.

    Groups are patients of two or three images each; `columns` has `site`.
    """
    spec, image_size, channels = source.spec, source.image_size, source.channels or 1
    _, colon, number = spec.partition(":")
    if colon and not (number.isdecimal() and 3 <= int(number) <= 10**6):
        raise DataError(
            f"{spec!r}: after the colon stands the number of training images, 3 to 1000000."
        )
    count = int(number) if colon else TRAIN_IMAGES
    names = agreed(source.classes, CLASSES, NAME)
    parts = [
        _part(which, images, image_size, channels, source.seed)
        for which, images in enumerate((count, max(3, count // 4)))
    ]
    return Dataset(NAME, names, channels, image_size, *parts)


def _part(which: int, count: int, image_size: int, channels: int, seed: int) -> Index:
    patients = int(np.ceil(count / 2))
    rng = np.random.default_rng((seed, _TABLE, which))
    # thirds in random order: balanced for any number of patients; big sites see more patients than
    # small ones
    patient_class = np.concatenate([rng.permutation(3) for _ in range(-(-patients // 3))])[
        :patients
    ]
    share = np.linspace(2, 1, len(SITES))
    patient_site = rng.choice(len(SITES), patients, p=share / share.sum())
    patient = np.repeat(np.arange(patients), rng.integers(2, 4, patients))[:count]
    view = np.arange(count) - np.searchsorted(patient, patient)
    reader = _Reader(seed, which, patient, view, patient_class, patient_site, image_size)
    return Index(
        patient_class[patient].astype(np.int64),
        reader,
        image_size,
        channels,
        np.array([f"g{'te'[which != 0]}{p}" for p in patient]),
        {"site": [SITES[patient_site[p]] for p in patient]},
    )


@dataclass(frozen=True)
class _Reader:
    seed: int
    which: int
    patient: np.ndarray
    view: np.ndarray
    patient_class: np.ndarray
    patient_site: np.ndarray
    image_size: int

    def read(self, row: int) -> np.ndarray:
        p = int(self.patient[row])
        kind, site = int(self.patient_class[p]), int(self.patient_site[p])
        return draw(self.seed, self.which, p, int(self.view[row]), kind, site, self.image_size)

    def name(self, row: int) -> str:
        return f"{NAME}, image {row}"

    def stamp(self, row: int) -> str:
        return f"{NAME}-1:{self.seed}:{self.which}:{self.patient[row]}:{self.view[row]}"


# 64 MB at 64 x 64; hospitals of one process and baselines draw the same images
@lru_cache(maxsize=16384)
def draw(
    seed: int, which: int, patient: int, view: int, kind: int, site: int, size: int
) -> np.ndarray:
    """One phantom, uint8, size x size. `kind`: position in CLASSES; `which`: 0 train, 1 test."""
    body = Body(np.random.default_rng((seed, _PATIENT, which, patient)))
    view_rng = np.random.default_rng((seed, _VIEW, which, patient, view))
    image = _scanner(seed, site).expose(body, kind, size, view_rng)
    image.setflags(write=False)
    return image


@lru_cache(maxsize=64)
def _scanner(seed: int, site: int) -> Scanner:
    return Scanner(np.random.default_rng((seed, _SITE, site)))


FORMAT = Format(
    NAME,
    "drawn chest radiographs, no files needed; phantom-cxr:N for N training images",
    recognises,
    open_phantom,
    built_in=True,
)
