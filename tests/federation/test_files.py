"""A file of ours is the old one or the new one, never half of either."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from federation.files import write_whole


@pytest.mark.parametrize("durable", [False, True])
def test_the_content_replaces_what_was_there(tmp_path: Path, durable: bool) -> None:
    path = tmp_path / "summary.json"
    path.write_text("old")
    write_whole(path, b"new", durable=durable)
    assert path.read_bytes() == b"new"
    assert [file.name for file in tmp_path.iterdir()] == ["summary.json"]


def test_text_is_written_as_utf8(tmp_path: Path) -> None:
    write_whole(tmp_path / "text", "Köln")
    assert (tmp_path / "text").read_bytes() == b"K\xc3\xb6ln"


def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(handle: int) -> None:
        raise OSError("No space left on device")

    path = tmp_path / "memory.json"
    path.write_text("old")
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        write_whole(path, "new", durable=True)
    assert path.read_text() == "old"
    assert [file.name for file in tmp_path.iterdir()] == ["memory.json"]


def test_only_a_durable_write_waits_for_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    waited: list[int] = []
    monkeypatch.setattr(os, "fsync", waited.append)
    write_whole(tmp_path / "status.json", "{}")
    assert not waited
    write_whole(tmp_path / "memory.json", "{}", durable=True)
    assert len(waited) == (2 if os.name == "posix" else 1)
