"""Silence and rubbish, slow lines, and whose turn it is to upload."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from coordinator.phases import Phase
from federation.effects import Send
from federation.messages import (
    AdvertiseKeys,
    Aggregate,
    Message,
    Rejected,
    RoundReport,
    ShareKeys,
    Update,
    Welcome,
)
from federation.records.events import (
    HospitalRefused,
    RoundFailed,
    UnreadableMessage,
)
from federation.roster import Roster
from tests.adversary import Rewrite
from tests.coordinator.scenes import (
    PATIENCE,
    both,
    late,
    nobody,
    one_model,
    replace,
)
from tests.rig import RUN, Rig, config, start_model


def test_a_hospital_that_falls_silent_for_good_costs_one_patience_and_no_round() -> None:
    wire = Rewrite(Message, lambda message: None if rig.run.last_begun >= 2 else message, only=4)
    rig = Rig(config("masked", 5, rounds=8), fault=wire)
    rig.play()
    assert rig.run.completed == 8 and rig.federation.now <= 2 * PATIENCE
    one_model(rig, without=[4])


def test_a_hospital_that_does_not_report_costs_one_patience_and_is_heard_again() -> None:
    wire = Rewrite(RoundReport, nobody, only=4, round_=1)
    rig = Rig(config("masked", 5, rounds=4), fault=wire).play()
    assert rig.run.completed == 4 and rig.federation.now <= 3 * PATIENCE
    one_model(rig, without=[4])


def test_a_cohort_that_is_not_there_costs_its_round_and_not_the_run() -> None:
    """Six hospitals, cohorts of three; two are gone for good. Rounds without them go on."""
    gone = {1, 4}
    rig = Rig(config("masked", 3, rounds=12), hospitals=6)
    rig.federation.fault = lambda who, direction, message, now: (
        () if who in gone else ((0.0, message),)
    )
    rig.play()
    whole = [round_ for round_ in range(1, 13) if not gone & set(rig.plan(round_).cohort)]
    assert 0 < len(whole) < 12
    assert rig.federation.finished is not None and rig.run.completed == len(whole)
    assert rig.stands[0].applied_rounds == whole
    assert {event.code for event in rig.events(RoundFailed)} == {"threshold"}
    one_model(rig, without=gone)


@pytest.mark.parametrize("protection", ["plain", "masked", "ckks"])
def test_rubbish_at_every_moment_never_ends_the_run(protection: str) -> None:
    """Before each message of hospital 2 come frames that are none; it is out of every round, and
    the run goes on without it.
    """
    rubbish = [
        [b""],
        [b"FL", b"x"],
        [b"FL\0\1\0\x12\0\1", b"\x90", b"x" * 100],
        [bytes(8), bytes(8)],
        [b"FL\0\2\0\1\0\0", b"\x90"],
    ]
    rig: Rig

    def fault(who: int, direction: str, message: Message, now: float) -> Any:
        if who == 2 and direction == "up":
            for frames in rubbish:
                rig.federation.at(now, lambda frames=frames: rig.federation._arrive_up(2, frames))
        return ((0.0, message),)

    rig = Rig(config(protection, 5, rounds=3), fault=fault)
    rig.play()
    assert rig.run.completed == 3
    assert rig.events(UnreadableMessage)
    one_model(rig, without=[2])


def test_every_message_three_times_gives_the_same_model() -> None:
    """The link drops duplicates; were one to pass, it would harm nobody but its own hospital's
    round.
    """
    wire = Rewrite(Message, lambda message: [message] * 3, only=3)
    rig = Rig(config("masked", 5, rounds=3), fault=wire).play()
    assert rig.run.completed == 3
    one_model(rig, without=[3])
    assert rig.sessions[3].shared.round in (2, 3)


def test_uploads_are_granted_two_at_a_time_and_a_dead_uploader_holds_nobody_up_for_ever() -> None:
    in_flight: set[int] = set()
    most = 0

    def fault(who: int, direction: str, message: Message, now: float) -> Any:
        nonlocal most
        from federation.messages import Grant

        if isinstance(message, Grant):
            in_flight.add(who)
            most = max(most, len(in_flight))
        if isinstance(message, Update):
            in_flight.discard(who)
            if who == 1:
                return ()
        return ((1.0 if isinstance(message, Update) else 0.0, message),)

    rig = Rig(config("masked", 5, rounds=1), fault=fault).play()
    assert most == 2 and rig.run.completed == 1


def test_float32_uploads_are_granted_one_at_a_time_so_that_their_order_is_fixed() -> None:
    order: list[int] = []

    def fault(who: int, direction: str, message: Message, now: float) -> Any:
        if isinstance(message, Update):
            order.append(who)
        return ((float(5 - who) if isinstance(message, Update) else 0.0, message),)

    rig = Rig(config("plain", 5, rounds=1, bits=0), fault=fault).play()
    assert order == [0, 1, 2, 3, 4]
    straight = Rig(config("plain", 5, rounds=1, bits=0)).play()
    assert rig.sessions[0].shared.digest == straight.sessions[0].shared.digest


def test_slow_hospitals_make_the_same_model() -> None:
    """Delays change nothing but the time."""

    def fault(who: int, direction: str, message: Message, now: float) -> Any:
        return ((0.37 * ((7 * who + message.kind) % 5), message),)

    slow = Rig(config("masked", 5, rounds=3), fault=fault).play()
    quick = Rig(config("masked", 5, rounds=3)).play()
    assert slow.federation.now > 1.0 == quick.federation.now + 1.0
    assert slow.sessions[0].shared.digest == quick.sessions[0].shared.digest != start_model().digest


def test_welcome_names_the_run_and_where_it_stands() -> None:
    rig = Rig(config("masked", 3, rounds=7))
    sends = [
        effect.message
        for effect in rig.run.receive(1, rig.sessions[1].hello(), 0.0)
        if isinstance(effect, Send)
    ]
    assert sends == [Welcome(run=RUN, rounds=7)]
    turned = replace(rig.sessions[1].hello(), config=bytes(32))
    sends = [
        effect.message for effect in rig.run.receive(1, turned, 0.0) if isinstance(effect, Send)
    ]
    assert sends == [Rejected(code="config")]
    assert 1 not in rig.run.reachable
    assert isinstance(rig.roster, Roster) and AdvertiseKeys and ShareKeys


def test_while_hospitals_join_one_after_the_other_the_first_round_waits_for_the_next() -> None:
    """Patience counts from the last that came, not from the coordinator's start; who comes back
    again and again does not prolong it.
    """
    run, sessions = (rig := Rig(config("masked", 4, rounds=2))).run, rig.sessions
    for who, at in ((0, 5.0), (1, 5.8), (2, 6.6)):
        run.receive(who, sessions[who].hello(), at * PATIENCE)
    again = msgspec.structs.replace(sessions[2].hello(), session=bytes(16))
    run.receive(2, again, 7.3 * PATIENCE)
    run.tick(7.5 * PATIENCE)
    assert run.phase == Phase.JOINING
    run.tick(7.7 * PATIENCE)
    assert run.phase == Phase.SYNCHRONISING


def test_who_joined_during_a_round_is_not_sent_a_sum_that_it_cannot_open() -> None:
    wire = Rewrite(Aggregate, lambda message: message)
    rig = Rig(config("masked", 4, rounds=2), fault=wire)
    rig.federation.at(PATIENCE + 1, lambda: None)
    joined = late(rig, 3, at=PATIENCE + 3)
    rig.stands[0].training_s = 4
    rig.federation.fault = both(wire, joined)
    rig.play()
    assert rig.run.completed == 2 and not rig.events(HospitalRefused)
    sums = sorted(
        (message.round, who) for who, _, message in wire.seen if isinstance(message, Aggregate)
    )
    assert sums == [(1, 0), (1, 1), (1, 2), (2, 0), (2, 1), (2, 2), (2, 3)]
    one_model(rig)
