"""What a session or a round asks its keeper to do: the protocol itself does no I/O."""

from __future__ import annotations

from dataclasses import dataclass

from federation.coding import Sum
from federation.layout import Vector
from federation.messages import Message
from federation.model import SharedModel
from federation.records.events import Logged
from federation.types import HospitalNumber


@dataclass(frozen=True)
class Send:
    """To a hospital (its number) or, from a hospital, to the coordinator (`to` is None)."""

    message: Message
    to: HospitalNumber | None = None


@dataclass(frozen=True)
class Remember:
    """A hospital: write the session's durable record before anything else is done."""


@dataclass(frozen=True)
class Train:
    """A hospital: train from `shared` (float32[d]); hand the result to `Session.trained`."""

    run: bytes
    round: int
    shared: Vector


@dataclass(frozen=True)
class Discard:
    """A hospital stops training and restores the private layers that it had before this round."""

    round: int


@dataclass(frozen=True)
class Adopt:
    """A hospital: its shared model is another one now; save, test and report it.

    Attributes:
        shared: The model as of `shared.round`.
        counted: Whether this hospital's update is in it: its private changes are then kept.
        clipped: How many values of that update were clipped; None if it made none.
    """

    shared: SharedModel
    counted: bool
    clipped: int | None = None


@dataclass(frozen=True)
class Applied:
    """The coordinator: a round has given this sum."""

    round: int
    total: Sum | None


@dataclass(frozen=True)
class NewRun:
    """A hospital: another run begins; start from the agreed start."""

    run: bytes


@dataclass(frozen=True)
class Note:
    """Something its operator should read. `error` where somebody is to blame."""

    text: str
    error: bool = False


@dataclass(frozen=True)
class Finished:
    """The run is over. `code` is empty, or the reason why it ended early."""

    completed: int
    code: str = ""


Effect = Send | Remember | Train | Discard | Adopt | Applied | NewRun | Note | Logged | Finished
