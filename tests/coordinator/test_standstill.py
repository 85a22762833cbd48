"""One hospital that does all it can to keep the others from ever beginning a round, or from ever
ending one.

Each test stands still for ever, or blames the wrong hospital, without the defence that its name
tells.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from crypto import signing
from federation.groupkey import _request_parts
from federation.messages import (
    Message,
    Refusal,
    RoundReport,
    StateAnswer,
    StateRequest,
    Synchronise,
)
from federation.records.events import HospitalLost, UnreadableMessage
from tests.rig import RUN, Rig, config

PATIENCE = 10.0
X = 0
replace = msgspec.structs.replace


class Saboteur:
    """Hospital X's line in the hand of the one who runs it. Every message takes `line` seconds, X's
    own a little less.
    """

    def __init__(self, line: float = 0.0, **changes: Any) -> None:
        self.line = line
        self.rig = Rig(config("masked", 5, rounds=3, **changes), fault=self)
        self.sessions = 0

    def __call__(self, who: int, direction: str, message: Message, now: float) -> Any:
        if who != X:
            return self.others(direction, message)
        return self.down(message) if direction == "down" else self.up(message)

    def others(self, direction: str, message: Message) -> Any:
        return [(self.line, message)]

    def up(self, message: Message) -> Any:
        return [(self.line * 0.8, message)]

    def down(self, message: Message) -> Any:
        return [(self.line, message)]

    def say(self, message: Message, after: float = 0.0) -> None:
        """Not through `up`."""
        bus = self.rig.federation
        bus.at(bus.now + after, lambda: bus._coordinator(self.rig.run.receive(X, message, bus.now)))

    def hello_of_another_process(self) -> Message:
        self.sessions += 1
        return replace(self.rig.sessions[X].hello(), session=self.sessions.to_bytes(16, "big"))

    def ends(self, within: float, blamed: Callable[[int], bool] = lambda who: who == X) -> None:
        """All others make every round, and nobody else is blamed."""
        self.rig.play()
        assert self.rig.run.completed == 3 and self.rig.federation.now < within
        assert {session.shared.round for who, session in self.rig.sessions.items() if who != X} == {
            3
        }
        assert all(
            blamed(self.rig.who(event))
            for event in [
                *self.rig.events(UnreadableMessage),
                *self.rig.events(HospitalLost),
            ]
        )


def test_who_is_started_again_and_again_while_the_others_wait_is_waited_for_thrice() -> None:
    class Loop(Saboteur):
        def down(self, message: Message) -> Any:
            if isinstance(message, Synchronise):
                self.say(self.hello_of_another_process(), PATIENCE / 2)
                return []
            return [(0.0, message)]

    Loop().ends(within=6 * PATIENCE)


def test_who_asks_again_instead_of_saying_that_it_has_the_key_loses_its_time() -> None:
    class Loop(Saboteur):
        def down(self, message: Message) -> Any:
            if isinstance(message, StateAnswer):
                self.say(self.request, PATIENCE / 2)
                return []
            return [(0.0, message)]

        def up(self, message: Message) -> Any:
            if isinstance(message, StateRequest):
                self.request = message
            return [(0.0, message)]

    Loop().ends(within=12 * PATIENCE)


class NeverMaker(Saboteur):
    """X makes no key either."""

    def down(self, message: Message) -> Any:
        return (
            []
            if isinstance(message, Synchronise) and message.source == X
            else [(self.line, message)]
        )


def test_a_request_that_no_source_can_answer_is_not_relayed_and_costs_no_source() -> None:
    """The source would refuse, and all that ask it at that moment would be sent to somebody else:
    of the maker, to nobody.
    """

    class LowOrder(NeverMaker):
        def up(self, message: Message) -> Any:
            if isinstance(message, StateRequest):
                message = replace(message, public=bytes(32))
                parts = _request_parts(RUN, self.rig.roster, message)
                message = replace(
                    message,
                    signature=signing.sign(
                        self.rig.secrets[X].signing_key, "state-request", *parts
                    ),
                )
            return [(self.line * 0.8, message)]

    LowOrder(line=0.05).ends(within=3 * PATIENCE)


def test_a_state_whose_asker_is_gone_by_now_is_no_fault_of_its_source() -> None:
    class Gone(NeverMaker):
        def up(self, message: Message) -> Any:
            if isinstance(message, StateRequest):
                self.say(self.hello_of_another_process(), self.line)
            return [(self.line * 0.8, message)]

    Gone(line=0.05).ends(within=3 * PATIENCE)


def test_one_refusal_does_not_take_a_round_back_that_all_others_are_slow_to_report() -> None:
    """They have applied it, and would be known as liars from then on: nobody may claim a round that
    has not been.
    """

    class Refuses(Saboteur):
        def up(self, message: Message) -> Any:
            return [
                (
                    0.0,
                    (
                        Refusal(round=message.round, code="aggregate")
                        if isinstance(message, RoundReport)
                        else message
                    ),
                )
            ]

        def others(self, direction: str, message: Message) -> Any:
            return [(1.5 * PATIENCE if isinstance(message, RoundReport) else 0.0, message)]

    Refuses(key_rounds=1).ends(within=12 * PATIENCE)
