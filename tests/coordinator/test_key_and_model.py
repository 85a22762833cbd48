"""Key and model from a peer: sources and makers that fail, lie or keep silent."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
import pytest

from coordinator.phases import Phase
from coordinator.run import Run
from federation import groupkey
from federation.messages import (
    Aggregate,
    Hello,
    Message,
    Refusal,
    RoundReport,
    StateAnswer,
    StateRequest,
    Synchronise,
    Synchronised,
)
from federation.records.events import (
    LateMessage,
    RoundReported,
    UnreadableMessage,
)
from tests.adversary import Rewrite
from tests.coordinator.scenes import (
    PATIENCE,
    nobody,
    one_model,
    replace,
)
from tests.rig import RUN, Rig, config


def test_a_hospital_that_missed_rounds_catches_up_and_no_model_passes_in_the_clear() -> None:
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
    """Hospital 4 missed a round. The one that it is told to ask has another model."""
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
