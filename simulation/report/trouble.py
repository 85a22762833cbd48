"""What went wrong in a run, read from its events."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from federation.records.events import (
    ConnectionRefused,
    Event,
    HospitalAtFault,
    HospitalDisconnected,
    HospitalLost,
    HospitalRefused,
    HospitalRejected,
    RoundBegun,
    RoundDiscarded,
    RoundFailed,
    UnreadableMessage,
    tag,
)

BAD = (HospitalAtFault, UnreadableMessage, RoundFailed, RoundDiscarded)
WORTH_TELLING = (
    *BAD,
    HospitalLost,
    HospitalRejected,
    HospitalDisconnected,
    HospitalRefused,
    ConnectionRefused,
)
DISCARDED = "most hospitals refused the sum; the round counts as if it had not taken place"


@dataclass(frozen=True)
class Trouble:
    """One kind of event in one round (0: before the first), and how many times it happened."""

    round: int
    event: str
    bad: bool
    hospital: str
    text: str
    times: int = 1


def trouble(events: Iterable[Event]) -> list[Trouble]:
    """What a reader should hear of, in order; the same thing in one round is one entry."""
    found: dict[Trouble, int] = {}
    now = 0
    for event in events:
        if isinstance(event, RoundBegun):
            now = event.round
        if isinstance(event, WORTH_TELLING):
            text = getattr(event, "text", "") or getattr(event, "code", "")
            entry = Trouble(
                round=getattr(event, "round", now),
                event=tag(event),
                bad=isinstance(event, BAD),
                hospital=getattr(event, "hospital", ""),
                text=text or (DISCARDED if isinstance(event, RoundDiscarded) else ""),
            )
            found[entry] = found.get(entry, 0) + 1
    return [replace(entry, times=times) for entry, times in found.items()]


def without_result(events: Iterable[Event]) -> list[int]:
    """The numbers of rounds that gave no result."""
    return [event.round for event in events if isinstance(event, RoundFailed | RoundDiscarded)]
