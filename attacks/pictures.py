"""Images for trials: a few of a data set, chosen by seed, and others to compare with."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from learning.data import DataError, Dataset, open_dataset

COMPARABLE = 200  # further images, never attacked: for the mean image, shadow data and the pool


@dataclass(frozen=True)
class Pictures:
    """`images` (n, C, H, W) and `others` of the same data set are uint8, with their labels."""

    name: str
    classes: tuple[str, ...]
    images: np.ndarray
    labels: np.ndarray
    others: np.ndarray
    other_labels: np.ndarray
    dataset: Dataset

    @cached_property
    def public(self) -> np.ndarray:
        """What an attacker finds of the same kind in public, uint8 (n, C, H, W): the test part of
        the data set, whose patients are others as far as they are known. `others` if there is none.
        """
        part = self.dataset.test
        if part is None:
            return self.others
        return np.asarray(part.load(np.arange(len(part))).images.numpy())

    @property
    def mean(self) -> np.ndarray:
        """(C, H, W) in [0, 1]: the mean of the others."""
        return np.asarray(self.others.mean(0) / 255.0)


def take(
    spec: str, count: int, *, image_size: int = 32, seed: int = 0, root: Path | None = None
) -> Pictures:
    """Return `count` images to attack and up to COMPARABLE others.

    Raises DataError if the data set is too small or not there.
    """
    dataset = open_dataset(spec, image_size=image_size, root=root, seed=seed)
    rows = _draw(len(dataset.train), count, seed, spec)
    loaded = dataset.train.load(rows)
    images, labels = loaded.images.numpy(), loaded.labels.numpy()
    return Pictures(
        dataset.name,
        dataset.classes,
        images[:count],
        labels[:count],
        images[count:],
        labels[count:],
        dataset,
    )


def _draw(total: int, count: int, seed: int, spec: str) -> np.ndarray:
    if total < 2 * count:
        raise DataError(
            f"{spec} has {total} images; {count} to attack and as many to compare with are needed."
        )
    return np.random.default_rng(seed).permutation(total)[: count + min(COMPARABLE, total - count)]
