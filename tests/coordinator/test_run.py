"""An undisturbed run, its rounds, keys and cohorts, and its end."""

from __future__ import annotations

from typing import Any

import pytest

from coordinator.phases import Phase
from federation.effects import Finished, Send
from federation.errors import Reason
from federation.messages import (
    Finish,
    Message,
    Synchronise,
    Synchronised,
)
from federation.records.events import (
    tag,
)
from tests.adversary import Rewrite
from tests.coordinator.scenes import (
    one_model,
)
from tests.rig import Rig, config


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
        mine = [round_ for round_ in range(1, 7) if who in rig.plan(round_).cohort]
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
