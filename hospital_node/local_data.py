"""Where a hospital's images come from: its data set, or its share of one in a simulation."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from federation.config import FederationConfig
from federation.errors import ConfigError
from hospital_node.settings import Data
from learning.data import DataError, Dataset, Index, LocalData, load_parts, open_dataset
from learning.partition import Partition, partition


def data_root() -> Path | None:
    """The folder that FLOP_DATA names."""
    folder = os.environ.get("FLOP_DATA", "")
    return Path(folder) if folder else None


def open_source(source: str, config: FederationConfig, seed: int) -> Dataset:
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
    """Load this hospital's images. Raises ConfigError if there are none.

    Args:
        cache: A file that keeps them decoded for the next start.
    """
    index = open_source(data.source, config, data.seed).train.cached(cache)
    rows, notes = np.arange(len(index)), tuple[str, ...]()
    if data.partition:
        divided = divide(index, data.partition, data.parts, data.seed)
        rows, notes = divided.parts[data.part], tuple(divided.notes)
    (found,) = load_parts(
        index, [rows], test_fraction=data.test_fraction, seed=data.seed, notes=notes
    )
    if not len(found):
        raise ConfigError(
            f"data.source: {data.source} gives this hospital no image that can be read"
        )
    return found
