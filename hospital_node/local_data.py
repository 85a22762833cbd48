"""Loads a hospital's images: its whole data set, or its share of one in a simulation."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from federation.config import FederationConfig
from federation.errors import ConfigError
from hospital_node.settings import Data, Share
from learning.data import DataError, Dataset, LocalData, load_parts, open_dataset


def data_root() -> Path | None:
    """Return the folder that the environment variable FLOP_DATA names, None if it is unset."""
    folder = os.environ.get("FLOP_DATA", "")
    return Path(folder) if folder else None


def open_source(source: str, config: FederationConfig, seed: int) -> Dataset:
    """Open a data set without decoding its images.

    Args:
        source: A data set's name under FLOP_DATA, or a path.
        config: What all hospitals agree on: classes, image size, channels.
        seed: For data sets whose images are drawn.

    Raises:
        ConfigError: If there is no such data set, or it does not fit the config.
    """
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


def load(
    data: Data, config: FederationConfig, cache: Path | None = None, share: Share | None = None
) -> LocalData:
    """Load this hospital's images.

    Args:
        data: Table `data` of hospital.toml.
        config: What all hospitals agree on: classes, image size, channels.
        cache: A file for the decoded images, so that the next start need not decode them.
        share: The part of the data set that this hospital has; by default all of it.

    Raises:
        ConfigError: If the data set cannot be opened, or none of its images can be read.
    """
    seed = 0 if share is None else share.seed
    index = open_source(data.source, config, seed).train.cached(cache)
    (found,) = load_parts(
        index,
        [np.arange(len(index)) if share is None else np.array(share.rows, np.int64)],
        test_fraction=data.test_fraction,
        seed=seed,
        notes=() if share is None else share.notes,
    )
    if not len(found):
        raise ConfigError(
            f"data.source: {data.source} gives this hospital no image that can be read"
        )
    return found
