"""Hospitals that come late, come one after the other, or are turned away."""

from __future__ import annotations

import pytest

from federation.messages import (
    Hello,
    Refusal,
    RoundReport,
)
from federation.records.events import (
    HospitalRejected,
    UnreadableMessage,
)
from tests.adversary import Rewrite, put
from tests.coordinator.scenes import (
    PATIENCE,
    late,
    one_model,
)
from tests.rig import RUN, Rig, config


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
