"""Images in memory, divided: what each hospital trains on, and what it keeps back for its test."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from learning.data.base import Index
from learning.data.holdout import local_split


@dataclass(frozen=True)
class LocalData:
    """One hospital's images. Hospitals of one process share the tensors.

    Attributes:
        images: uint8, N x C x H x W.
        labels: int64, N.
        train: int64, the rows of `images` to train on.
        test: int64, the rows that are kept back for the local test.
        skipped: Sentences about images that were left out.
        notes: Sentences about the division.
    """

    images: torch.Tensor
    labels: torch.Tensor
    train: torch.Tensor
    test: torch.Tensor
    skipped: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.train) + len(self.test)

    def class_counts(self, classes: int) -> tuple[list[int], list[int]]:
        """How many images of each class there are to train and to test on."""
        count = [
            torch.bincount(self.labels[rows], minlength=classes).tolist()
            for rows in (self.train, self.test)
        ]
        return count[0], count[1]


def load_parts(
    index: Index,
    parts: Sequence[np.ndarray],
    *,
    test_fraction: float,
    seed: int,
    notes: Sequence[str] = (),
    device: torch.device | None = None,
) -> list[LocalData]:
    """Decode the rows of all parts once; split each part into training and test rows.

    Args:
        index: The set; its `cache` is used if it has one.
        parts: Rows of `index`, one array for each hospital.
        test_fraction: The share that each part keeps back, see `local_split`.
        seed: Seeds that choice. The same part and seed give the same split, alone or among others.
        notes: Sentences about the division, passed on.
        device: Where the images go; None: main memory.

    Returns:
        One `LocalData` a part, empty if no image of it can be read; all have the same tensors.

    Raises:
        DataError: If no image at all can be read.
    """
    wanted = np.unique(np.concatenate([np.zeros(0, np.int64), *parts]))
    found = index.load(wanted)
    images = found.images if device is None else found.images.to(device)
    reasons = {
        int(row): f"{one.name}: {one.reason}"
        for row, one in zip(np.setdiff1d(wanted, found.kept_rows), found.skipped, strict=True)
    }

    def local(rows: np.ndarray) -> LocalData:
        skipped = np.isin(rows, list(reasons))
        kept = rows[~skipped]
        here = torch.from_numpy(np.searchsorted(found.kept_rows, kept))
        groups = None if index.groups is None else index.groups[kept]
        train, test = local_split(index.labels[kept], groups, test_fraction, seed)
        return LocalData(
            images,
            found.labels,
            here[torch.from_numpy(train)],
            here[torch.from_numpy(test)],
            tuple(reasons[int(row)] for row in rows[skipped]),
            tuple(notes),
        )

    return [local(np.asarray(rows, np.int64)) for rows in parts]
