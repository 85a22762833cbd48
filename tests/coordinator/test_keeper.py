"""The coordinator's keeper without a network: what it writes, records and says."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from coordinator import store
from coordinator.keeper import Keeper
from coordinator.store import Store
from federation import model
from federation.config import FederationConfig
from federation.effects import Effect, Finished
from federation.errors import ConfigError
from federation.messages import Update, Welcome
from federation.model import SharedModel
from federation.records import files
from federation.records.events import ConnectionRefused, LateMessage, RoundDiscarded, RoundFailed
from federation.records.state import ObservedRound, RunProgress
from tests.adversary import Rewrite, put
from tests.rig import RUN, Rig, config, start_model


def forged_first_round(folder: Path, protection: str = "masked") -> Rig:
    """Two rounds; in the first the sum fits no tag, so that every hospital refuses it."""
    wire = Rewrite(Update, put(tag=bytes(8)), only=1, round_=1)
    rig = Rig(config(protection, 3, rounds=2), fault=wire, folder=folder).play()
    assert wire.changed and rig.run.completed == 1
    return rig


def at_round(round_: int) -> SharedModel:
    shared = start_model()
    shared.vector = shared.vector + round_
    shared.round = round_
    return shared


def keeper_at(
    folder: Path, said: list[str] | None = None, rig: Rig | None = None, **reached: int
) -> Keeper:
    """A keeper of `rig`'s federation whose run got so far; `said` collects what it tells."""
    rig = rig or Rig(config("masked", 3, rounds=3))
    kept = Store(folder, rig.config)
    progress = RunProgress.of(RUN, rig.config.digest, **reached)
    tell = (lambda text: None) if said is None else said.append
    return Keeper(rig.config, rig.roster, start_model(), kept, progress, tell=tell)


# ---- the model -----------------------------------------------------------------------


def test_a_discarded_round_leaves_no_trace_in_the_coordinators_model(tmp_path: Path) -> None:
    rig = forged_first_round(tmp_path)
    assert rig.events(RoundDiscarded) == [RoundDiscarded(1)]
    hospitals = rig.sessions[0].shared
    assert hospitals.round == 2
    assert model.read(tmp_path / "shared.safetensors").digest == hospitals.digest
    before = model.read(tmp_path / "observations" / "round-2" / "before.safetensors")
    assert before.digest == start_model().digest


def test_after_every_round_the_coordinators_model_is_the_hospitals(tmp_path: Path) -> None:
    rig = Rig(config("masked", 3, rounds=3), folder=tmp_path).play()
    assert model.read(tmp_path / "shared.safetensors").digest == rig.sessions[0].shared.digest
    assert not (tmp_path / "shared-previous.safetensors").exists()


@pytest.mark.parametrize("protection", ["ckks", "masked+ckks"])
def test_a_coordinator_that_may_not_see_the_model_keeps_none(
    tmp_path: Path, protection: str
) -> None:
    rig = forged_first_round(tmp_path, protection)
    assert rig.keeper is not None and rig.keeper.model is None
    assert not list(tmp_path.glob("**/*.safetensors"))


def test_a_kill_between_the_model_and_the_progress_does_not_end_the_run(tmp_path: Path) -> None:
    kept = Store(tmp_path, config())
    kept.write_model(at_round(1))
    kept.write_model(at_round(2))
    found = keeper_at(tmp_path, applied=1, last_begun=2, completed=1).model
    assert found is not None and found.digest == at_round(1).digest


def test_a_run_without_its_model_is_refused(tmp_path: Path) -> None:
    Store(tmp_path, config()).write_model(at_round(2))
    with pytest.raises(ConfigError, match="is not the model of round 1"):
        keeper_at(tmp_path, applied=1, last_begun=1, completed=1)


def test_a_restarted_coordinator_takes_back_a_round_that_no_hospital_has(tmp_path: Path) -> None:
    Store(tmp_path, config()).write_model(at_round(1))
    said: list[str] = []
    rig = Rig(config("masked", 3, rounds=3))
    keeper = keeper_at(tmp_path, said, rig, applied=1, last_begun=1, completed=1)
    for who, session in rig.sessions.items():
        keeper.perform(keeper.run.receive(who, session.hello(), 0.0))
    assert (keeper.run.applied, keeper.run.completed) == (0, 0)
    assert model.read(tmp_path / "shared.safetensors").digest == start_model().digest
    assert files.read(tmp_path / "progress.json", RunProgress).applied == 0
    assert any("Round 1 was discarded" in text for text in said)


def test_a_model_that_is_not_there_any_more_is_given_up_and_the_operator_told(
    tmp_path: Path,
) -> None:
    Store(tmp_path, config()).write_model(at_round(2))
    said: list[str] = []
    keeper = keeper_at(tmp_path, said, applied=2, last_begun=2, completed=2)
    keeper.run.progress = RunProgress.of(RUN, keeper.config.digest, applied=1, last_begun=2)
    keeper.perform([RoundDiscarded(2)])
    assert keeper.model is None
    assert "take it from a hospital's run directory" in said[-1]


# ---- progress ------------------------------------------------------------------------


def test_where_the_run_stands_is_on_the_disk_before_anything_is_sent(tmp_path: Path) -> None:
    rig = Rig(config("masked", 3, rounds=2), folder=tmp_path)
    assert rig.keeper is not None
    perform = rig.keeper.perform
    sent = []

    def watched(effects: list[Effect]) -> list[object]:
        sends = perform(effects)
        if sends:
            sent.append(files.read(tmp_path / "progress.json", RunProgress) == rig.run.progress)
        return list(sends)

    rig.keeper.perform = watched  # type: ignore[assignment, method-assign]
    rig.play()
    assert len(sent) > 10 and all(sent)


def test_only_messages_come_back_and_in_their_order(tmp_path: Path) -> None:
    rig = Rig(config("masked", 3, rounds=3))
    keeper = keeper_at(tmp_path, rig=rig)
    hello = rig.sessions[1].hello()
    (send,) = keeper.perform(keeper.run.receive(1, hello, 0.0))
    assert send.to == 1 and isinstance(send.message, Welcome)


@pytest.mark.parametrize(
    "content", ["", "{}", '{"run": "00", "last_begun": 0}', '{"run": "abc", "config": "00"}']
)
def test_a_damaged_progress_is_refused_with_a_way_out(tmp_path: Path, content: str) -> None:
    (tmp_path / "progress.json").write_text(content)
    with pytest.raises(ConfigError, match="is damaged; move"):
        Store(tmp_path, config()).resume()


def test_a_run_of_another_config_is_not_gone_on_with(tmp_path: Path) -> None:
    def kept(settings: FederationConfig) -> Store:
        return Store(tmp_path, settings)

    first = kept(config(rounds=1))
    first.write(first.resume(RUN))
    assert kept(config(rounds=1)).resume().run_id == RUN
    with pytest.raises(ConfigError, match=r"another federation\.toml"):
        kept(config(rounds=2)).resume()


# ---- events and records --------------------------------------------------------------


def test_a_round_is_recorded_as_the_coordinator_saw_it(tmp_path: Path) -> None:
    rig = Rig(config("masked", 3, rounds=1), folder=tmp_path).play()
    folder = tmp_path / "observations" / "round-1"
    assert sorted(path.name for path in folder.iterdir()) == [
        "aggregate.bin",
        "before.safetensors",
        "observation.json",
        *(f"update-{name}.bin" for name in rig.run.ids),
    ]
    about = files.read(folder / "observation.json", ObservedRound)
    assert about == ObservedRound(round=1, run=RUN.hex(), cohort=tuple(rig.run.ids))


def test_a_hospital_cannot_fill_the_log_and_rounds_are_always_in_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "LINES", 2)
    keeper = keeper_at(tmp_path)
    late, failed = LateMessage("hospital-1", "Ready"), RoundFailed(1, "range", "too large")
    keeper.perform([late, failed, late, failed, late, failed, late])
    found = files.read_events(tmp_path / "events.jsonl")
    assert found == [late, failed, late, failed, failed]


def test_somebody_who_was_not_let_in_is_logged_and_told(tmp_path: Path) -> None:
    said: list[str] = []
    keeper_at(tmp_path, said).refused("10.0.0.7", "a key that is not in the roster")
    assert files.read_events(tmp_path / "events.jsonl") == [
        ConnectionRefused("a key that is not in the roster")
    ]
    assert said == ["A connection was refused: a key that is not in the roster"]


def test_the_summary_says_how_the_run_ended_and_what_was_sent(tmp_path: Path) -> None:
    rig = Rig(config("masked", 3, rounds=2), folder=tmp_path).play()
    assert rig.keeper is not None
    summary = rig.keeper.summary(12.0, 3.0)
    assert (summary.rounds_completed, summary.finished, summary.stopped) == (2, True, "")
    assert summary.mean_shared_accuracy == 1.0
    assert summary.bytes.upload_per_hospital_per_round > 0
    assert (summary.seconds.total, summary.seconds.aggregate) == (12.0, 3.0)


def test_a_stopped_run_is_not_a_finished_one(tmp_path: Path) -> None:
    said: list[str] = []
    keeper = keeper_at(tmp_path, said)
    keeper.perform([Finished(1, "stopped")])
    summary = keeper.summary(1.0, 0.0)
    assert (summary.finished, summary.stopped) == (False, "stopped")
    assert said == [
        "The run was stopped: 1 of 3 rounds succeeded. Start it again with the same --out to go on."
    ]


def test_the_live_table_shows_every_hospital(tmp_path: Path) -> None:
    rig = Rig(config("masked", 3, rounds=1), folder=tmp_path).play()
    assert rig.keeper is not None
    shot = rig.keeper.snapshot(5.0)
    assert [(row.id, row.state, row.accuracy) for row in shot.hospitals] == [
        (name, "done", 1.0) for name in rig.run.ids
    ]
    assert (shot.completed, shot.accuracy, shot.phase) == (1, 1.0, "finished")
    keeper_at(tmp_path / "other").store.write_status(shot)
    assert store.read_status(tmp_path / "other") == shot
    assert json.loads((tmp_path / "other" / "status.json").read_text())["seconds"] == 5.0
    assert store.read_status(tmp_path) is None
