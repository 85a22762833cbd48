"""Write a file completely or not at all: the one place where a file of ours is replaced."""

from __future__ import annotations

import os
from pathlib import Path


def write_whole(path: Path, content: bytes | str, *, durable: bool = False) -> None:
    """Replace `path` in one step: a reader, or a later start, finds the old content or the new.

    Args:
        path: The file. Its folder must exist.
        content: Text is written as UTF-8.
        durable: Return only when the content is on the disk, so that not even a power failure
            loses it. Costs an fsync of the file and of its folder.

    Raises:
        OSError: If the file cannot be written. `path` is then as it was.
    """
    part = path.with_name(path.name + ".part")
    try:
        with part.open("wb") as file:
            file.write(content.encode() if isinstance(content, str) else content)
            if durable:
                file.flush()
                os.fsync(file.fileno())
        part.replace(path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise
    if durable and os.name == "posix":  # the new name is an entry of the folder
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
