"""Writing a file completely or not at all."""

from __future__ import annotations

import os
from pathlib import Path


def write_whole(path: Path, content: bytes | str, *, durable: bool = False) -> None:
    """Replace `path` by `content`; a reader sees the old file or the new one, never a part.

    Args:
        path: The file. Its folder exists.
        content: Bytes, or text that is written as UTF-8.
        durable: Return only when the content is on the disk (fsync), for what a crash may not lose.
    """
    temporary = path.with_name(path.name + ".part")
    with temporary.open("wb") as file:
        file.write(content.encode() if isinstance(content, str) else content)
        if durable:
            file.flush()
            os.fsync(file.fileno())
    temporary.replace(path)
