"""A hospital's own images: loaded once, split once into what it trains on and what it tests itself
with.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from federation.config import FederationConfig
from federation.errors import ConfigError
from hospital_node.settings import Data
from learning.data import DataError, Dataset, Index, local_split, open_dataset
from learning.partition import Partition, partition


@dataclass(frozen=True)
class LocalData:
    """`images` uint8 N x C x H x W and `labels`; `train` and `test` are rows of them. `skipped`:
    sentences for the operator.
    """

    images: torch.Tensor
    labels: torch.Tensor
    train: torch.Tensor
    test: torch.Tensor
    skipped: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    def class_counts(self, classes: int) -> tuple[list[int], list[int]]:
        """How many images of each class there are to train and to test on."""
        count = [
            torch.bincount(self.labels[rows], minlength=classes).tolist()
            for rows in (self.train, self.test)
        ]
        return count[0], count[1]


def data_root() -> Path | None:
    """The folder that FLOP_DATA names."""
    folder = os.environ.get("FLOP_DATA", "")
    return Path(folder) if folder else None


def open_source(
    source: str, config: FederationConfig, seed: int, cache: Path | None = None
) -> Dataset:
    """The data set, without its pixels. Raises ConfigError."""
    model = config.model
    try:
        return open_dataset(
            source,
            image_size=model.image_size,
            channels=model.channels,
            seed=seed,
            root=data_root(),
            classes=model.classes,
            cache=cache,
        )
    except DataError as error:
        raise ConfigError(f"data.source: {error}") from None


def divide(index: Index, spec: str, parts: int, seed: int) -> Partition:
    """Who gets what, in a simulation. Raises ConfigError."""
    try:
        return partition(spec, index.labels, index.columns, parts, seed, groups=index.groups)
    except ValueError as error:
        raise ConfigError(f"--partition {spec}: {error}") from None


def load(data: Data, config: FederationConfig, cache: Path | None = None) -> LocalData:
    """Load this hospital's images. Raises ConfigError where there are none to train on."""
    dataset = open_source(data.source, config, data.seed, cache)
    index = dataset.train
    notes: tuple[str, ...] = ()
    rows = np.arange(len(index))
    if data.partition:
        divided = divide(index, data.partition, data.parts, data.seed)
        rows, notes = divided.parts[data.part], tuple(divided.notes)
    found = index.load(rows)
    if not len(found.labels):
        raise ConfigError(
            f"data.source: {data.source} gives this hospital no image that can be read"
        )
    groups = None if index.groups is None else index.groups[found.kept_rows]
    train, test = local_split(found.labels.numpy(), groups, data.test_fraction, data.seed)
    return LocalData(
        found.images,
        found.labels,
        torch.from_numpy(np.asarray(train, np.int64)),
        torch.from_numpy(np.asarray(test, np.int64)),
        tuple(f"{one.name}: {one.reason}" for one in found.skipped),
        notes,
    )
