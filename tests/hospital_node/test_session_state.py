"""A lying coordinator and real hospitals: who gives the group key and the model to whom, and a
run's beginning.

Each test's name says which defence it guards: without it the test fails.
"""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from federation.effects import Discard, Note, Remember, Send
from federation.errors import Reason
from federation.messages import (
    AdvertiseKeys,
    Finish,
    Hello,
    Ready,
    Refusal,
    Rejected,
    RoundReport,
    StartRound,
    StateAnswer,
    StateRequest,
    Synchronise,
    Synchronised,
    Update,
    Welcome,
)
from tests.adversary import EVERYBODY, LyingCoordinator, liar, refuses
from tests.rig import RUN, Rig, config, counts_of

replace = msgspec.structs.replace


def asks(hub: LyingCoordinator, who: int, source: int, epoch: int = 2) -> StateRequest:
    """Hospital `who` is told to get a new epoch's key from `source`, which has made one."""
    (made,) = hub.say(source, Synchronise(epoch=epoch, source=source, applied=0, group_key=None))
    (request,) = hub.say(
        who,
        Synchronise(
            epoch=epoch, source=source, applied=0, group_key=made.group_key, model=made.model
        ),
    )
    assert isinstance(request, StateRequest)
    return request


def test_whatever_is_delivered_in_a_grants_place_the_question_stays_open() -> None:
    hub = liar()
    request = asks(hub, 3, 0)
    (true,) = hub.say(0, request)
    assert isinstance(true, StateAnswer)
    for forged, reason in (
        (replace(true, source=1), "unexpected"),
        (replace(true, epoch=7), "unexpected"),
        (replace(true, signature=bytes(64)), "signature"),
        (replace(true, buffers=(bytes(len(true.buffers[0])),)), "signature"),
    ):
        refuses(hub, 3, forged, reason, "refused StateAnswer: coordinator")
    assert isinstance(hub.say(3, true)[0], Synchronised)
    assert hub.sessions[3].group.identifier == hub.sessions[0].group.identifier  # type: ignore[union-attr]
    refuses(hub, 3, true, "unexpected", "delivered a group key that nobody asked for")


def test_another_key_than_the_one_that_most_hold_is_not_taken() -> None:
    """The source has another one than the coordinator was told by the others."""
    hub = liar()
    hub.say(0, Synchronise(epoch=2, source=0, applied=0, group_key=None))
    (request,) = hub.say(3, Synchronise(epoch=2, source=0, applied=0, group_key=b"x" * 32))
    (grant,) = hub.say(0, request)
    before = hub.sessions[3].group
    refuses(
        hub,
        3,
        grant,
        "context",
        "hospital-1: hospital 0: sealed another group key than the one that most hold",
    )
    assert hub.sessions[3].group is before


@pytest.mark.parametrize(
    "change",
    [
        {"asker": 60_000},
        {"asker": 2},
        {"signature": bytes(64)},
        {"public": bytes(32)},
        {"applied": 1},
    ],
)
def test_a_forged_request_gets_nothing(change: dict[str, Any]) -> None:
    hub = liar()
    request = asks(hub, 3, 0)
    refuses(
        hub,
        0,
        replace(request, **change),
        "signature",
        "did not sign this request for the group key",
    )


@pytest.mark.parametrize("change", [{"source": 1}, {"epoch": 1}, {"epoch": 3}])
def test_a_request_for_what_it_does_not_hold_is_refused(change: dict[str, Any]) -> None:
    hub = liar()
    request = asks(hub, 3, 0)
    refuses(
        hub,
        0,
        replace(request, **change),
        "unexpected",
        "for a key that this hospital does not hold",
    )


def test_an_older_key_is_not_taken_again_nor_made_again() -> None:
    hub = liar()
    hub.agree(5)
    for source in (0, 1):
        refuses(
            hub,
            0,
            Synchronise(epoch=4, source=source, applied=0, group_key=None),
            "replay",
            "has been replaced or given up",
        )
    hub.usable(6)


def test_an_answer_kept_back_does_not_bring_an_older_key_back() -> None:
    """Asked for before this hospital made a later key itself; and the disk knows of the later one
    before anybody else.
    """
    hub = liar()
    (kept,) = hub.say(0, asks(hub, 3, 0, epoch=2))
    hub.say(3, Synchronise(epoch=3, source=3, applied=0, group_key=None))
    assert [type(effect) for effect in hub.effects[3][-2:]] == [Remember, Send] and hub.sessions[
        3
    ].durable.least_epoch == 3
    refuses(hub, 3, kept, "unexpected", "delivered a group key that nobody asked for")
    assert hub.sessions[3].group.epoch == 3  # type: ignore[union-attr]


@pytest.mark.parametrize("source", [5, 65_535])
def test_synchronising_with_nobody_is_refused(source: int) -> None:
    refuses(
        liar(),
        0,
        Synchronise(epoch=2, source=source, applied=0, group_key=None),
        "unexpected",
        "or with nobody",
    )


def test_nothing_begins_before_the_run() -> None:
    rig = Rig(config("masked", 5))
    for message in (
        Synchronise(epoch=1, source=0, applied=0, group_key=None),
        StartRound(round=1, cohort=EVERYBODY),
    ):
        effects = rig.sessions[0].receive(message)
        assert [type(effect) for effect in effects] == [Note, Send] and isinstance(
            effects[1].message, Refusal
        )  # type: ignore[union-attr]
    rig.sessions[0].receive(Welcome(run=RUN, rounds=1))
    effects = rig.sessions[0].receive(StartRound(round=1, cohort=EVERYBODY))
    assert "before its group key is agreed" in effects[0].text  # type: ignore[union-attr]


def test_a_key_that_is_too_old_or_made_for_later_serves_no_round() -> None:
    hub = liar(key_rounds=2)
    refuses(
        hub,
        0,
        StartRound(round=3, cohort=EVERYBODY),
        "unexpected",
        "before its group key is agreed",
    )
    hub.agree(5)
    refuses(
        hub,
        0,
        StartRound(round=4, cohort=EVERYBODY),
        "unexpected",
        "before its group key is agreed",
    )
    hub.usable(6)


def test_a_hospital_is_not_asked_for_a_later_model_than_it_has() -> None:
    refuses(
        liar(),
        0,
        Synchronise(epoch=1, source=0, applied=4, group_key=None),
        "unexpected",
        "a later model than it has",
    )


def test_no_frame_of_a_run_holds_the_groups_secret() -> None:
    frames: list[bytes] = []
    rig = Rig(
        config("masked+ckks", 3, rounds=2),
        tap=lambda who, way, parts: frames.extend(bytes(part) for part in parts),
    ).play()
    group = rig.sessions[0].group
    assert group is not None and rig.run.completed == 2
    everything = b"".join(frames)
    assert group.secret not in everything and group.ckks[100:164] not in everything
    assert group.identifier in everything


def test_a_new_run_discards_the_round_and_starts_from_the_agreed_start() -> None:
    hub = liar()
    hub.usable(1)
    hub.advertise(2)
    hub.say(0, Welcome(run=b"another run 0000", rounds=5))
    session = hub.sessions[0]
    assert hub.discarded(0, 2) and session.rounds.current is None and session.group is None
    assert session.shared.digest == session.start.digest and session.durable.answered == 0


@pytest.mark.parametrize("code", [*Reason, "something new"])
def test_being_turned_away_is_told_to_the_operator_in_words(code: str) -> None:
    (note,) = Rig(config("masked", 3)).sessions[0].receive(Rejected(code=str(code)))
    assert (
        isinstance(note, Note)
        and note.error
        and note.text.startswith("the coordinator turned this hospital away: ")
    )


def test_the_end_of_the_run_discards_a_round_in_progress() -> None:
    hub = liar()
    hub.advertise(1)
    hub.say(0, Finish(completed=0, code="stopped"))
    assert Discard(1) in hub.effects[0] and hub.sessions[0].rounds.current is None


@pytest.mark.parametrize(
    "message",
    [
        Hello(config=bytes(32), roster=bytes(32), session=bytes(16), run=None, applied=0),
        Ready(round=1, model=bytes(32), group_key=None, signature=bytes(64)),
        Update(round=1, tag=None, signature=None),
        Refusal(round=1, code="policy"),
        Synchronised(epoch=1, applied=0, group_key=bytes(32), model=bytes(32)),
    ],
    ids=lambda message: type(message).__name__,
)
def test_a_hospitals_own_messages_are_refused_from_the_coordinator(message: Any) -> None:
    hub = liar()
    refuses(hub, 0, message, "unexpected", "which is a hospital's to send")
    hub.usable(1)


def test_training_that_ends_after_its_round_sends_nothing() -> None:
    hub = liar()
    hub.advertise(1, dead=[0])
    session = hub.sessions[0]
    session.receive(StartRound(round=1, cohort=EVERYBODY))
    session.receive(StartRound(round=2, cohort=EVERYBODY))
    stand = hub.rig.stands[0]
    assert session.trained(1, stand.done(1), counts_of(0)) == []
    assert session.failed(1, "too late", Reason.TRAINING) == []
    (sent,) = session.trained(2, stand.done(2), counts_of(0))
    assert isinstance(sent, Send) and isinstance(sent.message, AdvertiseKeys)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_an_update_that_is_no_number_is_refused_by_its_owner_before_a_key_is_made(
    value: float,
) -> None:
    hub = liar()
    session = hub.sessions[0]
    session.receive(StartRound(round=1, cohort=EVERYBODY))
    done = hub.rig.stands[0].done(1)
    done.update[3] = value
    note, discard, refusal = session.trained(1, done, counts_of(0))
    assert (
        isinstance(note, Note) and "NaN, infinity or another shape; lower training.lr" in note.text
    )
    assert discard == Discard(1) and refusal == Send(Refusal(round=1, code=Reason.TRAINING))
    hub.usable(2)


def test_a_report_names_the_model_and_holds_no_more_than_it_is_given() -> None:
    hub = liar()
    hub.usable(1)
    session = hub.sessions[0]
    (sent,) = session.report(1)
    assert isinstance(sent, Send) and isinstance(sent.message, RoundReport)
    assert (sent.message.accuracy, sent.message.clipped) == (None, None)
    (sent,) = session.report(1, 0.7, 12)
    assert isinstance(sent, Send) and isinstance(sent.message, RoundReport)
    assert (sent.message.round, sent.message.accuracy, sent.message.clipped) == (1, 0.7, 12)


def test_a_report_of_a_model_that_was_replaced_is_not_sent() -> None:
    hub = liar()
    hub.usable(1)
    hub.usable(2)
    assert hub.sessions[0].report(1, 0.7) == []


def test_a_session_that_is_stopped_leaves_its_round_and_says_so() -> None:
    hub = liar()
    session = hub.sessions[0]
    assert session.stop() == [] and session.round is None
    session.receive(StartRound(round=1, cohort=EVERYBODY))
    assert session.round == 1
    assert session.stop() == [Discard(1), Send(Refusal(round=1, code=Reason.STOPPED))]
    assert session.round is None
