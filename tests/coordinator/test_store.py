"""What the coordinator writes down."""

from __future__ import annotations

from pathlib import Path

import pytest

from coordinator import store
from tests.rig import config


def test_a_hospital_that_sends_rubbish_without_end_does_not_fill_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "LINES", 3)
    kept = store.Store(tmp_path, config())
    assert [kept.add({"event": "malformed"}, "hospital-1") for _ in range(5)] == [True] * 3 + [
        False
    ] * 2
    assert kept.add({"event": "malformed"}, "hospital-2") and all(
        kept.add({"event": "round"}) for _ in range(5)
    )
    assert len((tmp_path / "events.jsonl").read_text().splitlines()) == 3 + 1 + 5
