"""Hospitals and coordinators that are restarted."""

from __future__ import annotations

import pytest

from coordinator.run import Run
from federation.messages import (
    Aggregate,
    KeyList,
    Message,
    StartRound,
    Survivors,
)
from federation.records.events import (
    HospitalLost,
    RoundDiscarded,
)
from federation.records.state import RunProgress
from simulation.run.memory import MemoryFederation
from tests.adversary import Rewrite
from tests.coordinator.scenes import (
    again,
    one_model,
    stopped_at,
)
from tests.rig import RUN, Rig, config


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
