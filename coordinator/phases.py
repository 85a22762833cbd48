"""The phases of a run, and what leads from one to the next."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum


class Phase(StrEnum):
    """Where a run is."""

    JOINING = "joining"
    SYNCHRONISING = "synchronising"
    ROUND = "round"
    REPORTING = "reporting"
    FINISHED = "finished"


class Cause(StrEnum):
    """Why a phase ends."""

    GATHERED = "gathered"
    """All hospitals are there, or enough of them and nobody has come for `patience`."""
    READY = "ready"
    """Enough of the cohort hold one key and one model."""
    RESULT = "result"
    """The round gave an aggregate."""
    ABORTED = "aborted"
    """The round gave none."""
    REPORTED = "reported"
    """All that were sent the aggregate have reported, or `patience` is over."""
    ALL_ROUNDS = "all_rounds"
    """The last round is over."""
    STOPPED = "stopped"


PHASES: Mapping[tuple[Phase, Cause], Phase] = {
    (Phase.JOINING, Cause.GATHERED): Phase.SYNCHRONISING,
    (Phase.SYNCHRONISING, Cause.READY): Phase.ROUND,
    (Phase.SYNCHRONISING, Cause.ALL_ROUNDS): Phase.FINISHED,
    (Phase.ROUND, Cause.RESULT): Phase.REPORTING,
    (Phase.ROUND, Cause.ABORTED): Phase.SYNCHRONISING,
    (Phase.REPORTING, Cause.REPORTED): Phase.SYNCHRONISING,
    (Phase.JOINING, Cause.STOPPED): Phase.FINISHED,
    (Phase.SYNCHRONISING, Cause.STOPPED): Phase.FINISHED,
    (Phase.ROUND, Cause.STOPPED): Phase.FINISHED,
    (Phase.REPORTING, Cause.STOPPED): Phase.FINISHED,
}
