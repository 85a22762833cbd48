"""The shared model as numpy: start, apply, digest, save. Hospitals and coordinator do the same
arithmetic, so they get the same bytes.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load, save

from crypto.kdf import digest
from federation.coding import Coding, Sum
from federation.config import FederationConfig, read_bytes
from federation.errors import ConfigError
from federation.files import write_whole
from federation.layout import Layout, Vector
from federation.types import Digest

LAST_ROUND = 2**31
BUFFERS = ("running_mean", "running_var")
"""What PyTorch calls BatchNorm's statistics."""


@dataclass
class SharedModel:
    """`M_s` of the FLOP paper as one vector, with the clip of every tensor for the next round.
    `round` 0 is the start.
    """

    layout: Layout
    vector: Vector
    clips: Vector
    round: int = 0

    @property
    def digest(self) -> Digest:
        """32 bytes over layout, round, parameters and clips: two hospitals with the same digest
        quantise and train alike.
        """
        vector, clips = (
            np.ascontiguousarray(array, "<f4").data for array in (self.vector, self.clips)
        )
        return Digest(digest("model", self.layout.digest, self.round, vector, clips))

    def apply(self, total: Sum, coding: Coding, config: FederationConfig, round_: int) -> None:
        """`M_s ← M_s + β · mean(update)`, update = local − global (FLOP, Algorithm 1, with the sign
        of the update turned).

        Every tensor's next clip is max(floor, factor · max|mean|): public knowledge only.
        """
        mean = coding.mean(total, self.clips)
        settings = config.protection
        clips = self.clips.copy()
        at = 0
        for index, length in enumerate(self.layout.lengths):
            piece = mean[at : at + length]
            largest = max(float(piece.max(initial=0.0)), -float(piece.min(initial=0.0)))
            clips[index] = max(settings.clip_floor, settings.clip_factor * largest)
            at += length
        mean *= np.float32(config.federation.beta)
        self.vector = self.vector + mean
        self.clips = clips
        self.round = round_

    def tensors(self) -> dict[str, NDArray[np.float32]]:
        return self.layout.unflatten(self.vector)

    def save(self, path: Path) -> None:
        """Write a safetensors file, complete or not at all; on the disk when this returns."""
        write_whole(path, to_bytes(self), durable=True)


def to_bytes(model: SharedModel) -> bytes:
    """The safetensors bytes: tensors, and as metadata their order, the clips and the round. The
    same model gives the same bytes.
    """
    about = {
        "flop": json.dumps(
            {
                "order": model.layout.names,
                "clips": [float(clip) for clip in model.clips],
                "round": model.round,
            },
            separators=(",", ":"),
        )
    }
    return save(
        {name: np.ascontiguousarray(tensor) for name, tensor in model.tensors().items()},
        metadata=about,
    )


def start(
    tensors: Mapping[str, NDArray[np.float32]], names: tuple[str, ...], clip: float
) -> SharedModel:
    """The model before round 1."""
    layout = Layout.of(tensors, names)
    return SharedModel(layout, layout.flatten(tensors), np.full(len(names), clip, np.float32))


def from_bytes(content: bytes, layout: Layout | None = None) -> SharedModel | None:
    """The model in a file's bytes, or None where they are not a model of ours (with this layout, if
    one is given) with finite numbers.
    """
    try:
        size = int.from_bytes(content[:8], "little")
        about = json.loads(json.loads(content[8 : 8 + size])["__metadata__"]["flop"])
        tensors = load(content)
        found = start({name: tensors[name] for name in about["order"]}, tuple(about["order"]), 1.0)
        found.clips, found.round = np.array(about["clips"], np.float32), int(about["round"])
    except (SafetensorError, TypeError, KeyError, ValueError, OverflowError, RecursionError):
        return None
    fits = layout is None or found.layout == layout
    if (
        not fits
        or sorted(tensors) != sorted(found.layout.names)
        or any(tensor.dtype != np.float32 for tensor in tensors.values())
    ):
        return None
    positive = found.clips.shape == (len(found.layout.names),) and bool(
        (np.isfinite(found.clips) & (found.clips > 0)).all()
    )
    return (
        found
        if positive and 0 <= found.round < LAST_ROUND and np.isfinite(found.vector).all()
        else None
    )


def read(path: Path) -> SharedModel:
    """Load a model file. Raises ConfigError where it is not one of ours."""
    model = from_bytes(read_bytes(path))
    if model is None:
        raise ConfigError(
            f"{path}: is not a model file of this project; copy it from the coordinator again"
        )
    return model


def read_start(path: Path, config: FederationConfig) -> SharedModel:
    """The agreed start: refused unless its SHA-256 is the one in the config. Raises ConfigError."""
    found = file_digest(path)
    if found != config.model.start_digest:
        raise ConfigError(
            f"{path}: its SHA-256 is {found[:16]}…, federation.toml says"
            f" {config.model.start_digest[:16]}…; copy both files from the coordinator again"
        )
    model = read(path)
    # another run's result may be this run's start
    model.clips, model.round = first_clips(model.layout, config), 0
    return model


def first_clips(layout: Layout, config: FederationConfig) -> Vector:
    """Round 1's clip of every tensor, from the config and the tensors' names alone."""
    agreed = config.protection
    return np.array(
        [agreed.buffer_clip if name.endswith(BUFFERS) else agreed.clip for name in layout.names],
        np.float32,
    )


def file_digest(path: Path) -> str:
    """SHA-256 of the file's bytes in hex. Raises ConfigError."""
    return hashlib.sha256(read_bytes(path)).hexdigest()
