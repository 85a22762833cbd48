"""The run's state machine: hospitals that come late, restart, fall behind or never answer; a
coordinator that is restarted; the end.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from typing import Any

import msgspec
import numpy as np
import pytest

from coordinator.run import Phase, Run
from federation import groupkey
from federation.effects import Finished, Send
from federation.errors import Reason
from federation.messages import (
    AdvertiseKeys,
    Aggregate,
    Finish,
    Hello,
    KeyList,
    Message,
    Refusal,
    Rejected,
    RoundReport,
    ShareKeys,
    StartRound,
    StateAnswer,
    StateRequest,
    Survivors,
    Synchronise,
    Synchronised,
    Update,
    Welcome,
)
from federation.records.events import (
    HospitalLost,
    HospitalRefused,
    HospitalRejected,
    LateMessage,
    RoundDiscarded,
    RoundFailed,
    RoundReported,
    UnreadableMessage,
    tag,
)
from federation.records.state import RunProgress
from federation.roster import Roster
from simulation.run.memory import MemoryFederation
from tests.adversary import Rewrite, put
from tests.rig import RUN, Rig, config, start_model

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


# ---- an undisturbed run --------------------------------------------------------------


@pytest.mark.parametrize("kind", ["plain", "masked", "ckks", "masked+ckks"])
def test_an_undisturbed_run_ends_with_one_model_and_no_word_of_trouble(kind: str) -> None:
    rig = Rig(config(kind, 3, rounds=3)).play()
    assert rig.run.completed == 3 and rig.run.phase == Phase.FINISHED
    one_model(rig)
    assert not rig.federation.notes
    assert {tag(event) for event in rig.federation.events} == {
        "joined",
        "begin",
        "phase",
        "reported",
    }
    assert rig.federation.now == 0.0  # nobody waited for anything
    assert [stand.private for stand in rig.stands.values()] == [[1, 2, 3]] * 3


def test_ten_rounds_cross_key_epochs_and_every_epoch_has_one_new_key() -> None:
    wire = Rewrite(Synchronised, lambda message: message)
    rig = Rig(config("masked", 3, rounds=10, key_rounds=3), fault=wire).play()
    keys: dict[int, set[bytes]] = {}
    for _, _, message in wire.seen:
        if isinstance(message, Synchronised):
            keys.setdefault(message.epoch, set()).add(message.group_key)
    assert sorted(keys) == [1, 4, 7, 10]
    assert all(len(found) == 1 for found in keys.values())
    assert len({key for found in keys.values() for key in found}) == 4
    assert rig.run.completed == 10
    one_model(rig)


def test_keys_are_made_by_different_hospitals_at_different_epochs() -> None:
    makers: set[int] = set()

    def fault(who: int, direction: str, message: Message, now: float) -> Any:
        if isinstance(message, Synchronise) and message.group_key is None:
            makers.add(who)
        return ((0.0, message),)

    Rig(config("masked", 5, rounds=12, key_rounds=1), fault=fault).play()
    assert len(makers) > 2


def test_hospitals_outside_the_cohort_apply_every_aggregate_and_keep_their_private_layers() -> None:
    rig = Rig(config("masked", 3, rounds=6), hospitals=6).play()
    assert rig.run.completed == 6
    # cohorts of three lie close together
    assert all("had the same participants except" in note.text for _, note in rig.federation.notes)
    one_model(rig)
    for who, stand in rig.stands.items():
        mine = [round_ for round_ in range(1, 7) if who in rig.run._plan(round_).cohort]
        assert stand.trained == stand.private == mine
        assert stand.applied_rounds == [1, 2, 3, 4, 5, 6]
        assert [
            round_
            for round_, counted in zip(stand.applied_rounds, stand.counted, strict=True)
            if counted
        ] == mine


def test_at_the_end_everybody_hears_of_it_and_so_does_who_comes_later() -> None:
    wire = Rewrite(Finish, lambda message: message)
    rig = Rig(config("masked", 3, rounds=1), fault=wire).play()
    assert wire.changed == 3 and rig.federation.finished == Finished(1, "")
    answer = rig.run.receive(0, rig.sessions[0].hello(), 1.0)
    assert answer == [Send(Finish(completed=1), 0)]


def test_a_run_can_be_stopped_at_any_time_once() -> None:
    rig = Rig(config("masked", 3, rounds=5))
    rig.federation.at(0.0, lambda: None)
    for who in range(3):
        rig.run.receive(who, rig.sessions[who].hello(), 0.0)
    effects = rig.run.stop(Reason.STOPPED, 0.0)
    assert [effect for effect in effects if isinstance(effect, Finished)] == [
        Finished(0, Reason.STOPPED)
    ]
    assert {
        effect.to
        for effect in effects
        if isinstance(effect, Send) and isinstance(effect.message, Finish)
    } == {0, 1, 2}
    assert rig.run.stop(Reason.STOPPED, 0.0) == [] and rig.run.tick(100.0) == []


# ---- joining -------------------------------------------------------------------------


def late(rig: Rig, who: int, at: float) -> Rewrite:
    """Hospital `who` is first heard at this time."""
    wire = Rewrite(Hello, lambda message: message if rig.federation.now >= at else None, only=who)
    rig.federation.fault = wire
    rig.federation.at(at, lambda: rig.federation.connect(who))
    return wire


def test_a_hospital_that_joins_late_gets_key_and_model_from_a_peer_and_takes_part() -> None:
    rig = Rig(config("masked", 5, rounds=4))
    rig.federation.at(PATIENCE + 1, lambda: None)  # the first round begins,
    late(rig, 4, at=PATIENCE + 3)  # and while hospital 0 still trains, hospital 4 comes
    rig.stands[0].training_s = 4
    rig.play()
    assert rig.run.completed == 4
    one_model(rig)
    assert rig.stands[4].trained == [2, 3, 4] and rig.stands[4].applied_rounds == [1, 2, 3, 4]
    assert rig.stands[4].counted == [False, True, True, True]


def test_too_few_hospitals_do_not_begin_and_the_run_waits_for_more() -> None:
    rig = Rig(config("masked", 5, rounds=1))
    wire = late(rig, 4, at=500.0)
    wire.only, wire.change = None, lambda message: message if rig.federation.now >= 500 else None
    for who in (0, 1):
        rig.federation.at(500.0, lambda who=who: rig.federation.connect(who))
    wire.change = lambda message: (
        message if rig.federation.now >= 500.0 or message.session in present else None
    )
    present = {rig.sessions[who].session_id for who in (2, 3)}
    rig.play(patiences=100)
    assert rig.run.completed == 1 and rig.federation.now >= 500.0


@pytest.mark.parametrize(
    ("field", "code", "advice"),
    [("config", "config", "federation.toml"), ("roster", "roster", "roster.toml")],
)
def test_another_config_or_roster_is_turned_away_with_advice_and_the_others_go_on(
    field: str, code: str, advice: str
) -> None:
    wire = Rewrite(Hello, put(**{field: bytes(32)}), only=4)
    rig = Rig(config("masked", 5, rounds=2), fault=wire).play()
    turned = rig.events(HospitalRejected)[0]
    assert (rig.who(turned), turned.code) == (4, code) and advice in turned.text
    note = next(note for who, note in rig.federation.notes if who == 4)
    assert note.error and "turned this hospital away" in note.text and advice in note.text
    assert rig.run.completed == 2 and rig.stands[4].trained == []
    one_model(rig, without=[4])


def test_who_was_not_let_in_is_not_listened_to() -> None:
    rig = Rig(config("masked", 3, rounds=1))
    for message in (
        RoundReport(round=0, model=None, accuracy=0.1, clipped=0),
        Refusal(round=0, code="x"),
    ):
        assert rig.run.receive(1, message, 0.0) == []
    assert rig.run.reachable == frozenset()


@pytest.mark.parametrize("applied", [1, 7, 2**31 - 1])
def test_nobody_can_claim_a_round_that_has_not_been(applied: int) -> None:
    """All would be sent to it for a model that it made up."""
    wire = Rewrite(Hello, put(run=RUN, applied=applied), only=0)
    rig = Rig(config("masked", 5, rounds=2), fault=wire).play()
    assert rig.events(UnreadableMessage)[0].text == "claims a round that has not been"
    assert rig.run.completed == 2
    one_model(rig, without=[0])


# ---- restarts ------------------------------------------------------------------------


@pytest.mark.parametrize(
    "before", [StartRound, KeyList, Survivors, Aggregate], ids=lambda kind: kind.__name__
)
@pytest.mark.parametrize("kind", ["masked", "ckks"])
def test_a_hospital_that_restarts_in_a_round_is_out_of_it_and_in_the_next(
    kind: str, before: type[Message]
) -> None:
    if kind == "ckks" and before is KeyList:
        pytest.skip("ckks has no such phase")
    rig: Rig
    wire = Rewrite(before, lambda message: rig.restart(2), only=2, round_=2)
    rig = Rig(config(kind, 5, rounds=3), fault=wire)
    rig.play()
    assert wire.changed == 1 and rig.run.completed == 3
    one_model(rig)
    assert rig.stands[2].counted == [True, False, True] and rig.stands[2].private == [1, 3]
    assert rig.federation.now == 0.0  # nobody waited for a process that is gone
    if before is not Aggregate:
        assert "was restarted" in [event.text for event in rig.events(HospitalLost)]


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


@pytest.mark.parametrize("protection", ["masked", "ckks"])
@pytest.mark.parametrize("kind", [StartRound, Survivors])
def test_a_coordinator_that_dies_in_a_round_goes_on_with_the_next_one(
    protection: str, kind: type[Message]
) -> None:
    rig = stopped_at(kind, 2, protection=protection)
    again(rig, last_begun=2, applied=1, completed=1).play()
    assert rig.run.completed == 3
    one_model(rig)
    assert [stand.private for stand in rig.stands.values()] == [[1, 3, 4]] * 5
    assert not [note for _, note in rig.federation.notes if note.error]


@pytest.mark.parametrize("protection", ["masked", "ckks"])
def test_a_coordinator_that_dies_while_it_sends_the_aggregate_lets_the_others_get_it_from_a_peer(
    protection: str,
) -> None:
    rig = stopped_at(Aggregate, 2, protection=protection)
    had = [who for who, session in rig.sessions.items() if session.shared.round == 2]
    assert 0 < len(had) < 5
    again(rig, last_begun=2, applied=2, completed=2).play()
    assert rig.run.completed == 4
    one_model(rig)
    for who, stand in rig.stands.items():
        assert stand.private == ([1, 2, 3, 4] if who in had else [1, 3, 4])


def test_a_coordinator_that_dies_before_anybody_has_the_aggregate_takes_it_back() -> None:
    rig = stopped_at(Aggregate, 2, lost=True)
    assert {session.shared.round for session in rig.sessions.values()} == {1}
    again(rig, last_begun=2, applied=2, completed=2).play()
    assert rig.events(RoundDiscarded) == [RoundDiscarded(2)]
    assert rig.run.completed == 3
    one_model(rig)
    assert [stand.private for stand in rig.stands.values()] == [[1, 3, 4]] * 5


def test_a_new_run_starts_from_the_agreed_start_and_forgets_the_old_key() -> None:
    rig = Rig(config("masked", 3, rounds=2)).play()
    old = rig.federation
    rig.run = Run(
        rig.config,
        rig.roster,
        rig.layout,
        RunProgress.of(b"another run 0000", rig.config.digest),
        old.now,
    )
    rig.federation = MemoryFederation(rig.config, rig.layout, rig.run, old.hospitals)
    rig.play()
    assert rig.run.completed == 2
    one_model(rig)
    assert [stand.private for stand in rig.stands.values()] == [[1, 2]] * 3
    assert all(session.durable.past_runs == [RUN] for session in rig.sessions.values())


# ---- key and model from a peer -------------------------------------------------------


def test_a_hospital_that_missed_aggregates_catches_up_and_nothing_of_the_model_passes_in_the_clear() -> (
    None
):
    frames: list[bytes] = []
    rig: Rig

    def away(message: Message) -> Message | None:
        gone = 1 <= rig.run.last_begun <= 3 and rig.run.phase != Phase.SYNCHRONISING
        return None if gone else message

    wire = Rewrite(Message, away, only=3)

    def watch(effect: Any, run: Run) -> None:
        if isinstance(effect, RoundReported) and effect.round == 3:
            rig.federation.at(rig.federation.now, lambda: rig.federation.connect(3))
            wire.change = lambda message: message

    rig = Rig(
        config("ckks", 5, rounds=6),
        fault=wire,
        watch=watch,
        tap=lambda who, way, parts: frames.extend(bytes(part) for part in parts if len(part) > 60),
    )
    rig.play()
    one_model(rig)
    assert rig.run.completed == 6
    assert rig.stands[3].applied_rounds in ([3, 4, 5, 6], [4, 5, 6])
    vector = rig.sessions[3].shared.vector.tobytes()
    assert vector not in b"".join(frames)


def test_a_key_maker_that_never_answers_is_replaced() -> None:
    makers: list[int] = []

    def fault(who: int, direction: str, message: Message, now: float) -> Any:
        if isinstance(message, Synchronise) and message.group_key is None:
            makers.append(who)
            if len(makers) == 1:
                return ()
        return ((0.0, message),)

    rig = Rig(config("masked", 5, rounds=2), fault=fault).play()
    assert len(makers) == 2 and makers[0] != makers[1]
    assert rig.run.completed == 2 and PATIENCE < rig.federation.now < 3 * PATIENCE
    one_model(rig)


def test_a_key_maker_that_refuses_is_replaced_at_once() -> None:
    makers: list[int] = []

    def fault(who: int, direction: str, message: Message, now: float) -> Any:
        if isinstance(message, Synchronised) and not makers:
            makers.append(who)
            return ((0.0, Refusal(round=0, code="policy")),)
        return ((0.0, message),)

    rig = Rig(config("masked", 5, rounds=2), fault=fault).play()
    assert rig.run.completed == 2 and rig.federation.now == 0.0
    one_model(rig)


@pytest.mark.parametrize("patience", [0.0, PATIENCE])
def test_when_all_refuse_to_make_a_key_the_run_waits_and_does_not_spin(patience: float) -> None:
    asked: list[float] = []

    def fault(who: int, direction: str, message: Message, now: float) -> Any:
        if isinstance(message, Synchronised | StateRequest):
            asked.append(now)
            return ((0.0, Refusal(round=0, code="policy")),)
        return ((0.0, message),)

    rig = Rig(config("masked", 3, rounds=1), fault=fault)
    rig.federation.play(until=100.0)
    assert rig.federation.finished is None and len(asked) < 3 * 15


def test_a_source_that_keeps_the_key_to_itself_is_passed_over() -> None:
    """Whoever is first asked to hand the key on never does; it is the maker, so a new key is made
    by another.
    """
    sources: list[int] = []

    def fault(who: int, direction: str, message: Message, now: float) -> Any:
        if isinstance(message, StateAnswer) and direction == "up":
            sources.append(who)
            if who == sources[0]:
                return ()
        return ((0.0, message),)

    rig = Rig(config("masked", 5, rounds=2), fault=fault).play()
    assert rig.run.completed == 2
    one_model(rig)


def spoilt(message: StateAnswer) -> StateAnswer:
    return replace(message, buffers=(bytes(len(message.buffers[0])),))


def test_a_source_that_hands_on_rubbish_is_passed_over_and_named() -> None:
    """Its box is signed, and does not open."""
    rig: Rig
    first: list[int] = []

    def fault(who: int, direction: str, message: Message, now: float) -> Any:
        if isinstance(message, StateAnswer) and direction == "up":
            first.append(who)
            if who == first[0]:
                message = spoilt(message)
        return ((0.0, message),)

    rig = Rig(config("masked", 5, rounds=2), fault=fault).play()
    assert rig.run.completed == 2
    one_model(rig)
    assert any("did not sign" in note.text for _, note in rig.federation.notes)


def test_a_false_model_from_a_peer_is_refused_by_what_most_stand_at_and_another_peer_is_asked() -> (
    None
):
    """Hospital 4 missed a round; the one that it is sent to has another model. It must not take it."""
    rig: Rig
    sent: list[int] = []

    def fault(who: int, direction: str, message: Message, now: float) -> Any:
        if isinstance(message, Aggregate) and who == 4 and message.round == 1:
            rig.restart(4)
            return ()
        if isinstance(message, StateRequest) and direction == "down" and not sent:
            if message.asker == 4 and rig.run.applied == 1:
                sent.append(who)
                shared = rig.sessions[who].shared
                rig.true = shared.vector  # type: ignore[attr-defined]
                shared.vector = shared.vector + np.float32(0.5)
        elif sent and isinstance(message, StateAnswer) and direction == "up" and who == sent[0]:
            rig.sessions[who].shared.vector = rig.true  # type: ignore[attr-defined]
        return ((0.0, message),)

    rig = Rig(config("masked", 5, rounds=3), fault=fault)
    rig.play()
    assert len(sent) == 1
    assert any(
        who == 4 and "sent another model than the one that most hospitals have" in note.text
        for who, note in rig.federation.notes
    )
    assert rig.run.completed == 3
    one_model(rig)
    assert rig.stands[4].counted == [False, True, True]


def test_a_hospital_that_stands_elsewhere_in_the_same_round_is_brought_back() -> None:
    """Its model was damaged; the others' is the one that counts."""
    rig: Rig

    def damage(message: Message) -> Message:
        rig.sessions[2].shared.vector = rig.sessions[2].shared.vector + np.float32(1)
        return message

    wire = Rewrite(RoundReport, damage, only=2, round_=1)
    rig = Rig(config("masked", 5, rounds=3), fault=wire)
    rig.play()
    assert rig.run.completed == 3
    one_model(rig)


def test_who_answers_nothing_to_synchronise_is_left_aside_and_costs_one_patience() -> None:
    wire = Rewrite(Synchronise, nobody, only=2)
    rig = Rig(config("masked", 5, rounds=4), fault=wire).play()
    assert wire.changed and rig.run.completed == 4
    assert rig.federation.now <= 3 * PATIENCE
    one_model(rig, without=[2])


def test_a_hospital_that_refuses_to_synchronise_costs_no_time_at_all() -> None:
    def fault(who: int, direction: str, message: Message, now: float) -> Any:
        if who == 2 and isinstance(message, StateRequest | Synchronised) and direction == "up":
            return ((0.0, Refusal(round=0, code="policy")),)
        return ((0.0, message),)

    rig = Rig(config("masked", 5, rounds=4), fault=fault).play()
    assert rig.run.completed == 4 and rig.federation.now == 0.0
    one_model(rig, without=[2])


def test_a_key_that_nobody_asked_for_counts_for_nothing() -> None:
    """Hospital 0, the lowest number, puts a key forward at once and hands it to nobody."""
    claim = Synchronised(epoch=1, applied=0, group_key=b"x" * 32, model=bytes(32))
    wire = Rewrite(Hello, lambda message: [message, claim], only=0)
    rig = Rig(config("masked", 5, rounds=2), fault=wire).play()
    assert rig.run.completed == 2 and rig.federation.now == 0.0
    one_model(rig)


def test_a_forged_grant_is_not_relayed() -> None:
    rig: Rig
    """Another hospital answers in a hurry; the coordinator relays only what is waited for, and the
    true answer comes after it.
    """
    forged: list[int] = []

    def fault(who: int, direction: str, message: Message, now: float) -> Any:
        if isinstance(message, StateAnswer) and direction == "up" and not forged:
            other = next(
                number for number in range(5) if number not in (message.asker, message.source)
            )
            forged.append(message.asker)
            for wrong in (replace(message, source=other), replace(message, asker=other), message):
                rig.federation.at(
                    now,
                    lambda wrong=wrong: rig.federation._coordinator(
                        rig.run.receive(other, wrong, now)
                    ),
                )
        return ((0.0, message),)

    rig = Rig(config("masked", 5, rounds=2), fault=fault)
    rig.play()
    assert forged and rig.run.completed == 2 and not rig.federation.notes
    one_model(rig)
    assert [stand.counted for stand in rig.stands.values()] == [[True, True]] * 5


def test_in_anothers_name_nothing_is_relayed() -> None:
    rig = Rig(config("masked", 5, rounds=1)).play()
    request = StateRequest(
        epoch=1, asker=2, source=3, applied=0, public=bytes(32), signature=bytes(64)
    )
    grant = StateAnswer(
        epoch=1, asker=2, source=3, public=bytes(32), signature=bytes(64), buffers=(b"x",)
    )
    nowhere = [(2, replace(request, source=77)), (2, replace(request, source=2))]
    for who, message in ((1, request), (3, request), (1, grant), (2, grant), *nowhere):
        (recorded,) = rig.run.receive(who, message, 0.0)
        assert isinstance(recorded, UnreadableMessage)
    (recorded,) = rig.run.receive(2, request, 0.0)  # in its own name, but not signed
    assert (
        isinstance(recorded, UnreadableMessage)
        and recorded.text == "did not sign its request for key and model"
    )
    signed = groupkey.ask(
        RUN,
        rig.roster,
        me=2,
        source=3,
        epoch=1,
        applied=0,
        signing_key=rig.secrets[2].signing_key,
        random=os.urandom,
    ).request
    (recorded,) = rig.run.receive(2, signed, 0.0)  # signed, but it was not told to ask
    assert recorded == LateMessage(rig.run.ids[2], "StateRequest")


# ---- silence, rubbish ----------------------------------------------------------------


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
    whole = [round_ for round_ in range(1, 13) if not gone & set(rig.run._plan(round_).cohort)]
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
