"""One thing changed in every field of every message, on the way to or from one hospital: it is
noticed, no wrong sum is applied, and the next round has everybody again. What may change unnoticed
is listed here by name.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import msgspec
import numpy as np
import pytest

from coordinator.presence import Trust
from federation.coding import Coding
from federation.effects import Applied
from federation.messages import Aggregate, Finish, Hello, Message, Update, Welcome
from federation.records.events import (
    HospitalJoined,
    LateMessage,
    PhaseClosed,
    RoundBegun,
    RoundDiscarded,
    RoundFailed,
    RoundReported,
)
from tests.adversary import integers
from tests.rig import Rig, config, start_model

VICTIM = 1
Way = tuple[str, str, str]
"""(direction, message, what is changed in it)"""

HARMLESS = {
    ("up", "RoundReport", "accuracy"),  # a hospital's own word
    ("up", "RoundReport", "clipped"),
    # where it says it stands: asked before the next round, it says where it really does
    ("up", "RoundReport", "round"),
    ("up", "RoundReport", "model"),
    ("up", "StateAnswer", "epoch"),  # dropped as one that comes late; its asker asks again
}
# nothing proves a sum under `plain`
PLAIN = {("up", "Update", "buffers[]"), ("down", "Aggregate", "buffers[]")}
CKKS = {("down", "Aggregate", "transcript")}  # a hospital computes it itself


def changes(value: Any) -> Iterator[tuple[str, Callable[[Any], Any]]]:
    """Every place in a value, with what changes it there: a bit in every number and byte string;
    items more and fewer in every tuple.
    """
    match value:
        case bool():
            return
        case int():
            yield "", lambda v: v ^ 1
        case float():
            yield "", lambda v: v / 2 - 0.25
        case str():
            yield "", lambda v: "x" + v[1:]
        case bytes() | memoryview():
            if len(value):
                at = len(value) // 2
                yield "", lambda v: bytes(v[:at]) + bytes([v[at] ^ 4]) + bytes(v[at + 1 :])
            yield "+", lambda v: bytes(v) + b"\0"
        case tuple():
            if value:
                yield "-", lambda v: v[:-1]
                yield "*", lambda v: (*v, v[-1])
                for name, change in changes(value[-1]):
                    yield f"[]{name}", lambda v, change=change: (*v[:-1], change(v[-1]))
        case msgspec.Struct():
            for field in value.__struct_fields__:
                for name, change in changes(getattr(value, field)):
                    yield (
                        f".{field}{name}",
                        lambda v, field=field, change=change: msgspec.structs.replace(
                            v, **{field: change(getattr(v, field))}
                        ),
                    )


def ways(kind: str) -> list[Way]:
    """All changes to the messages that pass hospital 1 in an undisturbed round and before it.
    masked+ckks: those that masked has not.
    """
    seen: dict[tuple[str, str], Message] = {}

    def look(who: int, direction: str, message: Message, now: float) -> Any:
        if who == VICTIM:
            seen.setdefault((direction, type(message).__name__), message)
        return ((0.0, message),)

    Rig(config(kind, 4, rounds=6, key_rounds=1), fault=look).play()
    return [
        (direction, name, place.lstrip("."))
        for (direction, name), message in seen.items()
        if not isinstance(message, Hello | Welcome | Finish)
        if kind != "masked+ckks" or isinstance(message, Update | Aggregate)
        for place, _ in changes(message)
    ]


class Flipped:
    """A run with a new group key in every round. Every odd round has one change, the first still to
    be tried that fits a message.

    Some fit only where hospital 1 made the key, others only where it asks for it.
    """

    def __init__(self, kind: str, every: list[Way]) -> None:
        self.kind, self.pending, rounds = kind, list(every), 2 * len(every) + 40
        self.ways: dict[int, Way] = {}
        self.survivors: dict[int, tuple[int, ...]] = {}
        self.totals: dict[int, Any] = {}
        self.clips: dict[int, Any] = {}
        self.noticed: set[int] = set()
        self.notes = 0
        self.rig = Rig(
            config(kind, 4, rounds=rounds, key_rounds=1), fault=self._fault, watch=self._watch
        )
        self.rig.play()

    def _current(self, message: Message) -> int:
        run = self.rig.run
        return getattr(message, "round", 0) or run.last_begun + (run.round is None)

    def _fault(self, who: int, direction: str, message: Message, now: float) -> Any:
        round_ = self._current(message)
        if isinstance(message, Aggregate):
            self.survivors[message.round] = message.survivors
        if who != VICTIM or not round_ % 2 or round_ in self.ways:
            return ((0.0, message),)
        possible = dict(changes(message))
        fitting = (
            way
            for way in self.pending
            if way[:2] == (direction, type(message).__name__) and "." + way[2] in possible
        )
        way = next(fitting, None)
        if way is None:
            return ((0.0, message),)
        self.pending.remove(way)
        self.ways[round_] = way
        return ((0.0, possible["." + way[2]](message)),)

    def _watch(self, effect: Any, run: Any) -> None:
        if isinstance(effect, Applied):
            self.totals[effect.round] = effect.total
            honest = self.rig.sessions[0]
            self.clips[effect.round] = honest.shared.clips.copy()
        elif not isinstance(
            effect, HospitalJoined | RoundBegun | PhaseClosed | RoundReported | LateMessage
        ):
            self.noticed |= {run.last_begun, run.last_begun + (run.round is None)}
        if sum(note.error for _, note in self.rig.federation.notes) > self.notes:
            self.notes = sum(note.error for _, note in self.rig.federation.notes)
            self.noticed |= {run.last_begun, run.last_begun + (run.round is None)}
        if isinstance(effect, RoundReported | RoundFailed | RoundDiscarded):
            # as after a silence
            come_back = (
                self.rig.restart
                if run.presence[VICTIM].trust == Trust.DOUBTED
                else self.rig.federation.connect
            )
            self.rig.federation.at(self.rig.federation.now, lambda: come_back(VICTIM))

    def check(self) -> set[Way]:
        """The ways that nobody noticed."""
        rig = self.rig
        assert rig.federation.finished is not None, (
            f"stands still after round {rig.run.last_begun}: {self.ways.get(rig.run.last_begun)}"
        )
        coding = Coding.of(rig.config, rig.layout)
        missed = set()
        for round_ in range(2, rig.config.federation.rounds + 1, 2):
            survivors = self.survivors.get(round_, ())
            assert {0, 2, 3} <= set(survivors), f"round {round_}, after {self.ways.get(round_ - 1)}"
            if VICTIM not in survivors:
                missed.add(self.ways.get(round_ - 1))
        assert not missed
        if self.kind in ("plain", "masked"):
            for round_, total in self.totals.items():
                expected = sum(
                    integers(rig, who, round_, self.clips[round_]) for who in self.survivors[round_]
                )
                assert np.array_equal(total.values, expected[: coding.values]), (
                    f"round {round_}, {self.ways.get(round_)}"
                )
        assert len({session.shared.digest for session in rig.sessions.values()}) == 1
        assert rig.sessions[0].shared.digest != start_model().digest
        return {way for round_, way in self.ways.items() if round_ not in self.noticed}


@pytest.mark.parametrize("kind", ["plain", "masked", "ckks", "masked+ckks"])
def test_every_change_to_every_message_is_noticed_or_harmless(kind: str) -> None:
    every = ways(kind)
    flipped = Flipped(kind, every)
    unnoticed = flipped.check()
    assert not flipped.pending
    assert unnoticed <= HARMLESS | (PLAIN if kind == "plain" else CKKS if kind == "ckks" else set())


def test_there_is_a_change_for_every_message_of_a_masked_round() -> None:
    names = {name for _, name, _ in ways("masked")}
    assert names >= {
        *(
            "StartRound",
            "AdvertiseKeys",
            "KeyList",
            "ShareKeys",
            "Delivery",
            "Grant",
            "Update",
            "Survivors",
            "Consistency",
        ),
        *(
            "UnmaskRequest",
            "UnmaskShares",
            "Aggregate",
            "RoundReport",
            "Synchronise",
            "Synchronised",
            "StateRequest",
            "StateAnswer",
        ),
    }
