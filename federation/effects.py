"""What a session or a round asks its service to do. The protocol itself never does I/O, never looks
at a clock.
"""

from __future__ import annotations

from dataclasses import dataclass

from federation.coding import Sum
from federation.messages import Message
from federation.records.events import Logged


@dataclass(frozen=True)
class Send:
    """To a hospital (its number) or, from a hospital, to the coordinator (`to` is None)."""

    message: Message
    to: int | None = None


@dataclass(frozen=True)
class Remember:
    """A hospital: write down, before anything else is done, that it answers this round of this run."""

    run: bytes
    round: int


@dataclass(frozen=True)
class Train:
    """A hospital: train for this round; hand the result to `Session.trained`."""

    round: int


@dataclass(frozen=True)
class Discard:
    """A hospital: stop training, take the private layers back to what they were before this round."""

    round: int


@dataclass(frozen=True)
class Applied:
    """The shared model stands at `round`. A hospital keeps its private layers' changes if
    `counted`; `total` is None after a copy.
    """

    round: int
    counted: bool
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


Effect = Send | Remember | Train | Discard | Applied | NewRun | Note | Logged | Finished
