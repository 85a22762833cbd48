"""The thread that trains and tests, so that the hospital's sockets are served meanwhile. One job
after the other.
"""

from __future__ import annotations

import queue
import threading
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from federation.layout import Vector
from hospital_node.learner import Learner, Trained
from hospital_node.storage import Storage
from learning.evaluation import Scores


@dataclass(frozen=True)
class TrainingDone:
    round: int
    trained: Trained


@dataclass(frozen=True)
class Tested:
    round: int
    scores: Scores
    seconds: float


@dataclass(frozen=True)
class BaselinesDone:
    confusions: dict[str, list[list[int]]]


@dataclass(frozen=True)
class Failed:
    round: int
    error: Exception
    trace: str


Result = TrainingDone | Tested | BaselinesDone | Failed


class Worker:
    """`results` fills up and `wake` is called for each; `step`/`steps` tell how far a training is."""

    def __init__(self, learner: Learner, storage: Storage, wake: Callable[[], None]) -> None:
        self.learner, self.storage, self.wake = learner, storage, wake
        self.results: queue.SimpleQueue[Result] = queue.SimpleQueue()
        self.step = self.steps = 0
        self._jobs: queue.SimpleQueue[Callable[[], Result | None] | None] = queue.SimpleQueue()
        self._cancelled = -1
        self._stopping = False
        self._thread = threading.Thread(target=self._work, name="learner", daemon=True)
        self._thread.start()

    def train(self, shared: Vector, run: bytes, round_: int) -> None:
        def job() -> Result | None:
            if self._stop(round_):
                return None
            self._progress(0, 0)
            trained = self.learner.train(
                shared, run, round_, self._progress, lambda: self._stop(round_)
            )
            return None if trained.stats.stopped else TrainingDone(round_, trained)

        self._put(job, round_)

    def discard(self, round_: int) -> None:
        """Stop this round's training between batches, and forget what it did to the private layers."""
        self._cancelled = max(self._cancelled, round_)
        self._put(self.learner.discard, round_)

    def adopt(self, shared: Vector, counted: bool, round_: int) -> None:
        """Take the new shared layers, keep the private changes on disk, test."""

        def job() -> Result:
            started = time.monotonic()
            self.learner.adopt(shared, counted)
            self.learner.save_private(self.storage.private)
            return Tested(round_, self.learner.test(), time.monotonic() - started)

        self._put(job, round_)

    def reset(self, run: bytes) -> None:
        self._put(lambda: self.learner.reset(run), 0)

    def baselines(self, start: Vector, run: bytes, rounds: int) -> None:
        self._put(
            lambda: BaselinesDone(
                self.learner.baselines(start, run, rounds, lambda: self._stopping)
            ),
            0,
        )

    def stop(self) -> None:
        """End after the batch in hand, and wait for it."""
        self._stopping = True
        self._jobs.put(None)
        self._thread.join()

    def _progress(self, step: int, steps: int) -> None:
        self.step, self.steps = step, steps

    def _stop(self, round_: int) -> bool:
        return self._stopping or round_ <= self._cancelled

    def _put(self, job: Callable[[], Any], round_: int) -> None:
        def guarded() -> Result | None:
            try:
                return job()
            # a bug or a full disk: the service tells its operator and refuses the round
            except Exception as error:
                return Failed(round_, error, traceback.format_exc())

        self._jobs.put(guarded)

    def _work(self) -> None:
        while True:
            job = self._jobs.get()
            if job is None or self._stopping:
                return
            result = job()
            if result is not None:
                self.results.put(result)
                self.wake()
