"""Messages on disk exactly as their frames crossed the wire: what `--record` writes and an attack
reads.
"""

from __future__ import annotations

from pathlib import Path

from federation.codec import encode
from federation.messages import Message


def write_frames(path: Path, message: Message) -> None:
    """Frames one behind the other, each with its length in 8 bytes (big-endian) before it."""
    with path.open("wb") as file:
        for frame in encode(message):
            file.write(len(frame).to_bytes(8, "big"))
            file.write(frame)


def read_frames(path: Path) -> list[bytes]:
    """What `write_frames` wrote. Raises ValueError for a truncated file."""
    content, at, frames = path.read_bytes(), 0, []
    while at < len(content):
        size = int.from_bytes(content[at : at + 8], "big")
        frame = content[at + 8 : at + 8 + size]
        if len(frame) != size:
            raise ValueError(f"{path} is truncated")
        frames.append(frame)
        at += 8 + size
    return frames
