"""What happens to federations in several tests of the coordinator."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import msgspec
import pytest

from coordinator.run import Run
from federation.messages import (
    Hello,
    Message,
)
from federation.records.state import RunProgress
from simulation.run.memory import MemoryFederation
from tests.adversary import Rewrite
from tests.rig import RUN, Rig, config

PATIENCE = 10.0
replace = msgspec.structs.replace


def nobody(message: Message) -> None:
    """A change: the message is lost."""


def one_model(rig: Rig, without: Iterable[int] = ()) -> None:
    """All that are named stand at one model, and at the round that the run stands at."""
    left = [rig.sessions[who] for who in rig.sessions if who not in set(without)]
    assert {session.shared.round for session in left} == {rig.run.applied}
    assert len({session.shared.digest for session in left}) == 1


def both(*faults: Rewrite) -> Callable[..., Any]:
    """Faults one behind the other."""

    def fault(who: int, direction: str, message: Message, now: float) -> Any:
        arriving = [message]
        for one in faults:
            arriving = [
                after for before in arriving for _, after in one(who, direction, before, now)
            ]
        return [(0.0, after) for after in arriving]

    return fault


def late(rig: Rig, who: int, at: float) -> Rewrite:
    """Hospital `who` is first heard at this time."""
    wire = Rewrite(Hello, lambda message: message if rig.federation.now >= at else None, only=who)
    rig.federation.fault = wire
    rig.federation.at(at, lambda: rig.federation.connect(who))
    return wire


def again(rig: Rig, last_begun: int, applied: int, completed: int) -> Rig:
    """The coordinator's process is another one, with what its disk remembers; the hospitals are the
    same and connect again.
    """
    old = rig.federation
    rig.run = Run(
        rig.config,
        rig.roster,
        rig.layout,
        RunProgress.of(
            RUN, rig.config.digest, last_begun=last_begun, applied=applied, completed=completed
        ),
        old.now,
    )
    rig.federation = MemoryFederation(rig.config, rig.layout, rig.run, old.hospitals)
    rig.federation.now = old.now
    return rig


def stopped_at(
    kind: type[Message],
    round_: int,
    rounds: int = 4,
    protection: str = "masked",
    lost: bool = False,
) -> Rig:
    """A federation whose coordinator dies as it sends this; `lost`: nobody gets it. What it began,
    applied and completed is on its disk.
    """

    class Gone(Exception):
        pass

    def die(message: Message) -> Message:
        raise Gone

    passed: list[Message] = []

    def some(message: Message) -> Message | None:
        passed.append(message)
        if lost or len(passed) > 2:
            die(message)
        return message

    rig = Rig(config(protection, 5, rounds=rounds), fault=Rewrite(kind, some, round_=round_))
    with pytest.raises(Gone):
        rig.play()
    while rig.federation._queue:  # what was on its way to the hospitals arrives
        _, _, act = rig.federation._queue.pop(0)
        if getattr(act, "func", None) == rig.federation._arrive_down:
            act()
    return rig
