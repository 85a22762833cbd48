"""What the coordinator must still know after a SIGKILL."""

from __future__ import annotations

import msgspec


class Checkpoint(msgspec.Struct, frozen=True):
    """Where a run stands, as `progress.json` keeps it."""

    run: bytes
    """The run's id, 16 bytes."""
    last_begun: int = 0
    """The last round that was begun. Its number is never used again."""
    applied: int = 0
    """The last round that gave an aggregate, 0 before the first."""
    completed: int = 0
    """How many rounds gave an aggregate that was kept."""
