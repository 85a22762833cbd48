"""One file of decoded images per hospital, so that the second run does not decode.

A safetensors file: the pixels, plus a key and the positions and reasons of what was skipped. No
name, path or identifier is in it; the key is a SHA-256 over the size asked for and a stamp (path,
length, time of change) of every source, in order.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

FORMAT = "flop-images-1"


def key(stamps: Iterable[str], size: int, channels: int) -> str:
    """The digest that a cache must carry to be used for these sources at this size, as hex."""
    digest = hashlib.sha256(f"{FORMAT}:{size}:{channels}".encode())
    for stamp in stamps:
        digest.update(hashlib.sha256(stamp.encode("utf-8", "surrogateescape")).digest())
    return digest.hexdigest()


def read(
    path: Path, wanted: str, shape: tuple[int, int, int]
) -> tuple[np.ndarray, dict[int, str]] | None:
    """Pixels (uint8, N x *shape) and the reasons by position; None if the file is absent, damaged,
    or of other images.
    """
    if not path.is_file():
        return None
    try:
        with safe_open(path, framework="numpy") as file:
            header = file.metadata() or {}
            if header.get("key") != wanted:
                return None
            pixels = file.get_tensor("images")
            reasons = {
                int(place): str(reason) for place, reason in json.loads(header["skipped"]).items()
            }
    except (SafetensorError, OSError, ValueError, KeyError, AttributeError):
        return None
    return (pixels, reasons) if pixels.dtype == np.uint8 and pixels.shape[1:] == shape else None


def write(path: Path, wanted: str, pixels: np.ndarray, reasons: dict[int, str]) -> None:
    """Replace the cache in one step, so that a run that is stopped leaves the old one or the new
    one.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_name(f"{path.name}.{os.getpid()}.new")
    skipped = json.dumps({str(place): reason for place, reason in reasons.items()})
    try:
        save_file(
            {"images": np.ascontiguousarray(pixels)},
            new,
            metadata={"key": wanted, "skipped": skipped},
        )
        os.replace(new, path)
    finally:
        new.unlink(missing_ok=True)
