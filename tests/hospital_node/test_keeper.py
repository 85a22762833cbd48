"""A hospital's keeper without a network: what it writes, asks its learner for, says and sends."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from federation import model
from federation.effects import Adopt, Discard, Finished, NewRun, Note, Remember, Send, Train
from federation.errors import ConfigError, Reason
from federation.messages import Refusal, Rejected, RoundReport, Welcome
from hospital_node.keeper import Keeper
from hospital_node.storage import Storage
from hospital_node.work import BaselinesDone, Failed, LocalTestDone, TrainingDone
from tests.rig import RUN, Rig, StandIn, config

RIGHT = np.array([[3, 1], [0, 4]], np.int64)


class Kept:
    """A keeper with a folder, a stand-in for its learner, and what it told its operator."""

    def __init__(self, folder: Path, begun: bool = True, **choices: Any) -> None:
        self.rig = Rig(config("masked", 3, rounds=4))
        self.session, self.work = self.rig.session(0), StandIn(0)
        self.said: list[str] = []
        self.storage = Storage(folder)
        self.keeper = Keeper(
            self.session, self.work, self.storage, tell=self.said.append, **choices
        )
        if begun:
            self.keeper.receive(Welcome(run=RUN, rounds=4))

    def adopt(self, round_: int, counted: bool = True, clipped: int | None = 5) -> None:
        self.session.shared.round = round_
        self.keeper.perform([Adopt(self.session.shared, counted, clipped)])

    @property
    def lines(self) -> list[dict[str, Any]]:
        path = self.storage.folder / "metrics.jsonl"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    @property
    def summary(self) -> dict[str, Any]:
        return dict(json.loads((self.storage.folder / "summary.json").read_text()))


@pytest.fixture
def kept(tmp_path: Path) -> Kept:
    return Kept(tmp_path)


# ---- effects -------------------------------------------------------------------------


def test_a_new_run_is_on_disk_before_anything_else_happens(tmp_path: Path) -> None:
    kept = Kept(tmp_path, begun=False)
    assert not (tmp_path / "memory.json").exists()
    kept.keeper.receive(Welcome(run=RUN, rounds=4))
    assert kept.storage.read_durable().run == RUN
    assert (tmp_path / "config.toml").exists()
    assert kept.said == [f"run {RUN.hex()[:12]} begins"]


def test_messages_are_returned_in_the_order_of_the_effects(kept: Kept) -> None:
    first, second = Refusal(round=1, code="lost"), Refusal(round=2, code="lost")
    assert kept.keeper.perform([Send(first), Note("between"), Send(second)]) == [first, second]


def test_what_must_outlive_the_process_is_written_when_the_session_asks_for_it(kept: Kept) -> None:
    kept.session.durable.answered = 3
    assert kept.storage.read_durable().answered == 0
    kept.keeper.perform([Remember()])
    assert kept.storage.read_durable().answered == 3


def test_a_round_is_remembered_before_its_training_is_asked_for(kept: Kept) -> None:
    seen: list[int] = []
    ask = kept.work.train
    kept.work.train = lambda *given: (
        seen.append(kept.storage.read_durable().answered) or ask(*given)
    )  # type: ignore[method-assign, func-returns-value]
    kept.session.durable.answered = 2
    kept.keeper.perform([Remember(), Train(RUN, 2, kept.session.shared.vector)])
    assert seen == [2] and kept.work.trained == [2]


def test_a_discarded_round_reaches_the_learner(kept: Kept) -> None:
    kept.keeper.perform([Train(RUN, 1, kept.session.shared.vector), Discard(1)])
    assert kept.work.discarded == 1 and kept.work.pending is None


def test_a_new_model_is_written_before_it_is_tested(kept: Kept) -> None:
    kept.adopt(1, counted=False)
    assert kept.work.applied_rounds == [1] and kept.work.counted == [False]
    written = model.read(kept.storage.shared)
    assert written.round == 1 and written.digest == kept.session.shared.digest


def test_a_later_run_puts_the_earlier_ones_results_aside(kept: Kept) -> None:
    kept.adopt(1)
    kept.keeper.finished(LocalTestDone(1, 0.5, RIGHT))
    kept.session.durable.past_runs.append(RUN)
    kept.session.durable.run = bytes(16)
    kept.keeper.perform([NewRun(bytes(16))])
    aside = kept.storage.folder / "earlier" / RUN.hex()[:12]
    assert {path.name for path in aside.iterdir()} == {"metrics.jsonl", "shared.safetensors"}
    assert not kept.lines


# ---- results -------------------------------------------------------------------------


def test_a_round_becomes_one_line(kept: Kept) -> None:
    kept.keeper.finished(TrainingDone(1, kept.work.done(1)))
    kept.adopt(1)
    kept.keeper.finished(LocalTestDone(1, 0.5, RIGHT))
    (line,) = kept.lines
    assert (line["round"], line["steps"], line["counted"], line["clipped"]) == (1, 2, True, 5)
    assert line["accuracy"] == 7 / 8 and line["test_loss"] == 0.5 and line["protect_seconds"] >= 0
    assert kept.said[-1].startswith("round 1 of 4 is done: local test 87.5 %")


def test_nothing_to_test_on_is_no_score(kept: Kept) -> None:
    kept.adopt(1)
    kept.keeper.finished(LocalTestDone(1, float("nan"), np.zeros((2, 2), np.int64)))
    assert kept.lines[0]["accuracy"] is None and kept.lines[0].get("test_loss") is None
    assert "round 1 of 4 is done" in kept.said


def test_a_round_that_begins_before_the_last_one_is_tested_keeps_its_own_line(kept: Kept) -> None:
    kept.adopt(1)
    kept.keeper.finished(TrainingDone(2, kept.work.done(2)))
    kept.keeper.finished(LocalTestDone(1, 0.5, RIGHT))
    kept.adopt(2, clipped=None)
    kept.keeper.finished(LocalTestDone(2, 0.4, RIGHT))
    first, second = kept.lines
    assert not first.get("steps") and second["steps"] == 2 and second.get("clipped") is None


@pytest.mark.parametrize(("share", "accuracy", "clipped"), [(True, 7 / 8, 5), (False, None, None)])
def test_the_coordinator_is_told_scores_only_if_they_are_shared(
    tmp_path: Path, share: bool, accuracy: float | None, clipped: int | None
) -> None:
    kept = Kept(tmp_path, share_metrics=share)
    kept.adopt(1)
    (report,) = kept.keeper.finished(LocalTestDone(1, 0.5, RIGHT))
    assert isinstance(report, RoundReport)
    assert (report.round, report.accuracy, report.clipped) == (1, accuracy, clipped)
    assert kept.lines[0]["accuracy"] == 7 / 8, "the hospital's own line has them in any case"


def test_a_long_test_is_reported_without_its_score_and_then_with_it(tmp_path: Path) -> None:
    kept = Kept(tmp_path, share_metrics=True)
    assert kept.keeper.report_untested() == []
    kept.adopt(1)
    (early,) = kept.keeper.report_untested()
    assert kept.keeper.report_untested() == []
    (late,) = kept.keeper.finished(LocalTestDone(1, 0.5, RIGHT))
    assert isinstance(early, RoundReport) and isinstance(late, RoundReport)
    assert (early.round, early.accuracy, early.clipped) == (1, None, None)
    assert (late.round, late.accuracy, late.clipped) == (1, 7 / 8, 5)


def test_a_score_that_is_not_shared_gives_no_second_report(tmp_path: Path) -> None:
    kept = Kept(tmp_path)
    kept.adopt(1)
    assert len(kept.keeper.report_untested()) == 1
    assert kept.keeper.finished(LocalTestDone(1, 0.5, RIGHT)) == []


def test_the_next_round_sends_the_counts_of_the_last_test(kept: Kept) -> None:
    given: list[Any] = []
    kept.session.trained = lambda *what: given.append(what) or []  # type: ignore[method-assign, func-returns-value]
    kept.keeper.finished(TrainingDone(1, kept.work.done(1)))
    kept.adopt(1)
    kept.keeper.finished(LocalTestDone(1, 0.5, RIGHT))
    kept.keeper.finished(TrainingDone(2, kept.work.done(2)))
    assert not given[0][2].any() and np.array_equal(given[1][2], RIGHT)


def test_a_failed_training_refuses_the_round_and_leaves_the_trace_on_disk(tmp_path: Path) -> None:
    kept = Kept(tmp_path)
    kept.session.failed = lambda round_, text, reason: [  # type: ignore[method-assign]
        Note(text),
        Send(Refusal(round=round_, code=reason)),
    ]
    sent = kept.keeper.finished(Failed(1, RuntimeError("out of memory"), "Traceback …"))
    assert sent == [Refusal(round=1, code=Reason.TRAINING)]
    assert (tmp_path / "error.log").read_text() == "Traceback …"
    assert "RuntimeError: out of memory" in kept.said[-1] and "error.log" in kept.said[-1]
    assert not kept.keeper.over


def test_a_fault_in_the_operators_files_ends_the_node(kept: Kept) -> None:
    with pytest.raises(ConfigError, match="does not fit"):
        kept.keeper.finished(Failed(1, ConfigError("does not fit"), "Traceback …"))


# ---- the end -------------------------------------------------------------------------


def test_the_end_of_the_run_is_summarised_at_once(kept: Kept) -> None:
    kept.adopt(2)
    kept.keeper.finished(LocalTestDone(2, 0.5, RIGHT))
    kept.keeper.perform([Finished(2)])
    assert kept.keeper.over and kept.summary["finished"] is True
    assert kept.summary["round"] == 2 and kept.summary["local_test"]["accuracy"] == 7 / 8
    assert kept.storage.finished(RUN)


def test_baselines_are_computed_after_a_run_that_succeeded(tmp_path: Path) -> None:
    kept = Kept(tmp_path, baselines=True)
    kept.adopt(1)
    kept.keeper.perform([Finished(1)])
    assert not kept.keeper.over and kept.summary["baselines"] == {}
    kept.keeper.finished(BaselinesDone({"majority": RIGHT.tolist()}))
    assert kept.keeper.over and kept.summary["baselines"]["majority"]["accuracy"] == 7 / 8


@pytest.mark.parametrize("code", ["stopped", "threshold"])
def test_a_run_that_ended_early_has_no_baselines_and_is_not_finished(
    tmp_path: Path, code: str
) -> None:
    kept = Kept(tmp_path, baselines=True)
    kept.adopt(1)
    kept.keeper.perform([Finished(1, code)])
    assert kept.keeper.over and kept.summary["finished"] is False
    assert any(code in text for text in kept.said)


def test_the_end_is_told_once(kept: Kept) -> None:
    kept.keeper.perform([Finished(1), Finished(1)])
    assert len([text for text in kept.said if "the run is over" in text]) == 1


def test_a_training_that_fails_after_the_end_does_not_keep_the_node_alive(tmp_path: Path) -> None:
    kept = Kept(tmp_path, baselines=True)
    kept.adopt(1)
    kept.keeper.perform([Finished(1)])
    kept.keeper.finished(Failed(0, RuntimeError("disk full"), "Traceback …"))
    assert kept.keeper.over


def test_a_hospital_that_is_turned_away_has_nothing_left_to_do(tmp_path: Path) -> None:
    kept = Kept(tmp_path, begun=False)
    assert kept.keeper.receive(Rejected(code="roster")) == []
    assert kept.keeper.over and kept.keeper.rejected
    assert "its roster.toml is another one" in kept.said[-1]
    kept.keeper.summarise()
    assert not (tmp_path / "summary.json").exists(), "there was no run"


def test_a_stopped_hospital_that_is_in_no_round_sends_nothing(kept: Kept) -> None:
    assert kept.keeper.stop() == [] and kept.keeper.over


def test_notes_go_to_whoever_asks_for_them(tmp_path: Path) -> None:
    notes: list[Note] = []
    kept = Kept(tmp_path, note=notes.append)
    kept.keeper.perform([Note("wrong", error=True)])
    assert notes == [Note("wrong", error=True)] and "wrong" not in kept.said
