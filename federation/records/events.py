"""Lines of events.jsonl: what happened in a run, as the coordinator saw it.

A hospital is named by its id. The key `event` tells which Struct a line is (its tag).
"""

from __future__ import annotations

import msgspec


class Logged(msgspec.Struct, frozen=True, tag_field="event"):
    """Base of all events."""


class HospitalJoined(Logged, frozen=True, tag="joined"):
    """A hospital connected, with the agreed files."""

    hospital: str


class HospitalRejected(Logged, frozen=True, tag="rejected"):
    """A hospital was turned away because it holds other files than this federation's."""

    hospital: str
    code: str
    text: str = ""


class HospitalDisconnected(Logged, frozen=True, tag="disconnected"):
    """The transport gave a hospital up for now."""

    hospital: str
    text: str


class ConnectionRefused(Logged, frozen=True, tag="refused"):
    """Somebody without a key of the roster tried to connect, or spoke another protocol."""

    text: str


class UnreadableMessage(Logged, frozen=True, tag="malformed"):
    """A hospital sent something that is not a valid message."""

    hospital: str
    text: str


class LateMessage(Logged, frozen=True, tag="late"):
    """A message came when it was no longer expected and was ignored; `message` names its type."""

    hospital: str
    message: str


class RoundBegun(Logged, frozen=True, tag="begin"):
    """A round begins: those hospitals of `cohort` that are connected are asked to train. Its number
    is never used again.
    """

    round: int
    cohort: tuple[str, ...] = ()


class PhaseClosed(Logged, frozen=True, tag="phase"):
    """A phase of the round ended with the hospitals in `present`; `next` follows."""

    phase: str
    present: tuple[str, ...]
    next: str


class HospitalLost(Logged, frozen=True, tag="lost"):
    """A hospital dropped out of the round in `phase`."""

    hospital: str
    phase: str
    code: str
    text: str


class HospitalAtFault(Logged, frozen=True, tag="fault"):
    """A hospital broke the protocol and is out of the round."""

    hospital: str
    code: str
    text: str


class HospitalRefused(Logged, frozen=True, tag="refusal"):
    """A hospital refused to do what it was asked in `round`, with its reason code."""

    hospital: str
    round: int
    code: str


class RoundFailed(Logged, frozen=True, tag="aborted"):
    """A round ended without a result."""

    round: int
    code: str
    text: str


class SumApplied(Logged, frozen=True, tag="sum"):
    """The coordinator opened a round's sum.

    `examples` is the sum of the survivors' example counts; `clipped` counts their clipped values.
    """

    round: int
    examples: int
    clipped: int


class RoundReported(Logged, frozen=True, tag="reported"):
    """A round is over. `accuracy` holds the local accuracy of every hospital that has shared it by
    then.
    """

    round: int
    accuracy: dict[str, float]


class ScoreShared(Logged, frozen=True, tag="score"):
    """A hospital shared the accuracy of its local test after it had reported the round."""

    hospital: str
    round: int
    accuracy: float


class RoundDiscarded(Logged, frozen=True, tag="discarded"):
    """Most hospitals refused the sum, so the round counts as if it had not been."""

    round: int


Event = (
    HospitalJoined
    | HospitalRejected
    | HospitalDisconnected
    | ConnectionRefused
    | UnreadableMessage
    | LateMessage
    | RoundBegun
    | PhaseClosed
    | HospitalLost
    | HospitalAtFault
    | HospitalRefused
    | RoundFailed
    | SumApplied
    | RoundReported
    | ScoreShared
    | RoundDiscarded
)


def tag(event: Logged) -> str:
    """The event's name on disk, e.g. "joined"."""
    return str(event.__struct_config__.tag)
