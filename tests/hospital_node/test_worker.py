"""The thread that trains and tests: order, discarding, failures and the end."""

from __future__ import annotations

import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from hospital_node.storage import Storage
from hospital_node.work import BaselinesDone, Failed, LocalTestDone, Trained, TrainingDone
from hospital_node.worker import Worker

VECTOR = np.zeros(4, np.float32)
RUN = bytes(16)


class Learner:
    """A stand-in: a training has four steps, and waits at each while `gate` is shut."""

    def __init__(self) -> None:
        self.private = {"head": np.ones(2, np.float32)}
        self.calls: list[str] = []
        self.gate, self.begun = threading.Event(), threading.Event()
        self.gate.set()
        self.error: Exception | None = None

    def reset(self, run: bytes) -> None:
        self.calls.append("reset")

    def train(self, shared: Any, run: bytes, round_: int, progress: Any, stop: Any) -> Any:
        if self.error is not None:
            raise self.error
        self.calls.append(f"train {round_}")
        for step in range(1, 5):
            if stop():
                return None
            progress(step, 4)
            self.begun.set()
            assert self.gate.wait(10)
        return Trained(shared, None, examples=3, steps=4)

    def adopt(self, shared: Any, counted: bool) -> None:
        self.calls.append(f"adopt {counted}")

    def discard(self) -> None:
        self.calls.append("discard")

    def test(self, progress: Any) -> Any:
        self.calls.append("test")
        progress(1, 4)
        self.begun.set()
        assert self.gate.wait(10)
        return SimpleNamespace(loss=0.5, confusion=np.eye(2, dtype=np.int64))

    def baselines(self, start: Any, run: bytes, rounds: int, stop: Any) -> Any:
        return {} if stop() else {"majority": [[1, 0], [0, 1]]}


class Bench:
    """A worker with its learner; `woken` counts its results."""

    def __init__(self, folder: Path) -> None:
        self.learner, self.woken = Learner(), 0
        self.storage = Storage(folder)
        self.worker = Worker(self.learner, self.storage, self.wake)  # type: ignore[arg-type]

    def wake(self) -> None:
        self.woken += 1

    def result(self) -> Any:
        return self.worker.results.get(timeout=10)


@pytest.fixture
def bench(tmp_path: Path) -> Any:
    made = Bench(tmp_path)
    yield made
    made.learner.gate.set()
    made.worker.stop()


def test_requests_are_done_in_their_order_and_each_result_wakes_the_service(bench: Bench) -> None:
    bench.worker.reset(RUN)
    bench.worker.train(VECTOR, RUN, 1)
    bench.worker.adopt(VECTOR, True, 1)
    bench.worker.baselines(VECTOR, RUN, 1)
    trained, tested, baselines = bench.result(), bench.result(), bench.result()
    assert isinstance(trained, TrainingDone) and trained.round == 1
    assert isinstance(tested, LocalTestDone) and (tested.round, tested.loss) == (1, 0.5)
    assert isinstance(baselines, BaselinesDone) and set(baselines.confusions) == {"majority"}
    assert bench.learner.calls == ["reset", "train 1", "adopt True", "test"]
    bench.worker.stop()
    assert bench.woken == 3


def test_private_layers_are_on_disk_before_the_round_is_tested(bench: Bench) -> None:
    bench.worker.adopt(VECTOR, True, 1)
    bench.result()
    kept = bench.storage.read_private()
    assert kept is not None and np.array_equal(kept["head"], np.ones(2, np.float32))


def test_the_progress_of_a_training_can_be_read(bench: Bench) -> None:
    assert bench.worker.percent is None
    bench.learner.gate.clear()
    bench.worker.train(VECTOR, RUN, 1)
    assert bench.learner.begun.wait(10)
    assert bench.worker.percent == 25
    bench.learner.gate.set()
    bench.result()
    assert bench.worker.percent == 100


def test_a_test_before_a_training_is_progress_too_so_that_a_long_one_makes_nobody_away(
    bench: Bench,
) -> None:
    bench.learner.gate.clear()
    bench.worker.adopt(VECTOR, True, 1)
    assert bench.learner.begun.wait(10)
    assert bench.worker.percent is None, "no training is asked for"
    bench.worker.train(VECTOR, RUN, 2)
    assert bench.worker.percent == 12
    bench.learner.begun.clear()
    bench.learner.gate.set()
    assert isinstance(bench.result(), LocalTestDone) and isinstance(bench.result(), TrainingDone)
    assert bench.worker.percent == 100


def test_a_discarded_training_ends_between_two_batches_without_a_result(bench: Bench) -> None:
    bench.learner.gate.clear()
    bench.worker.train(VECTOR, RUN, 1)
    assert bench.learner.begun.wait(10)
    bench.worker.discard(1)
    bench.learner.gate.set()
    bench.worker.train(VECTOR, RUN, 2)
    assert bench.result().round == 2
    assert bench.learner.calls == ["train 1", "discard", "train 2"]


def test_a_new_run_trains_rounds_whose_numbers_were_discarded_in_the_last_one(
    bench: Bench,
) -> None:
    bench.worker.discard(3)
    bench.worker.reset(RUN)
    bench.worker.train(VECTOR, RUN, 1)
    assert bench.result().round == 1


def test_a_discarded_round_does_not_stop_the_baselines(bench: Bench) -> None:
    bench.worker.discard(4)
    bench.worker.baselines(VECTOR, RUN, 4)
    assert bench.result().confusions


def test_an_error_is_a_result_and_the_thread_goes_on(bench: Bench) -> None:
    bench.learner.error = RuntimeError("out of memory")
    bench.worker.train(VECTOR, RUN, 1)
    failed = bench.result()
    assert isinstance(failed, Failed) and failed.round == 1
    assert "out of memory" in failed.trace and failed.error is bench.learner.error
    bench.worker.adopt(VECTOR, False, 1)
    assert isinstance(bench.result(), LocalTestDone)


def test_a_stopped_worker_ends_after_the_batch_in_hand(bench: Bench) -> None:
    bench.learner.gate.clear()
    bench.worker.train(VECTOR, RUN, 1)
    assert bench.learner.begun.wait(10)
    ending = threading.Thread(target=bench.worker.stop)
    ending.start()
    bench.learner.gate.set()
    ending.join(10)
    assert not ending.is_alive() and bench.worker.results.empty()
