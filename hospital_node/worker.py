"""The thread that trains and tests, so that the hospital's socket is served meanwhile."""

from __future__ import annotations

import queue
import threading
import traceback
from collections.abc import Callable

from federation.layout import Vector
from hospital_node.jobs import Jobs
from hospital_node.learner import Learner
from hospital_node.storage import Storage
from hospital_node.work import Failed, Job, Result


class Worker(Jobs):
    """Does one job after the other.

    Attributes:
        results: Fills up as jobs are done; `wake` is called for each result.
    """

    def __init__(self, learner: Learner, storage: Storage, wake: Callable[[], None]) -> None:
        super().__init__(learner, storage)
        self.wake = wake
        self.results: queue.SimpleQueue[Result] = queue.SimpleQueue()
        self._step = self._steps = 0
        """How far the test or the training in hand is."""
        self._testing = self._behind = False
        """Whether a test is in hand; whether the last training was asked for behind one."""
        self._jobs: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
        self._cancelled = 0
        """The last round of this run whose training was discarded."""
        self._stopping = False
        self._thread = threading.Thread(target=self._work, name="learner", daemon=True)
        self._thread.start()

    def reset(self, run: bytes) -> None:
        def job() -> None:
            self._cancelled = 0  # the new run has rounds of the same numbers

        self.put(job, 0)
        super().reset(run)

    def discard(self, round_: int) -> None:
        self._cancelled = max(self._cancelled, round_)
        super().discard(round_)

    def train(self, shared: Vector, run: bytes, round_: int) -> None:
        self._behind = self._testing
        super().train(shared, run, round_)

    def adopt(self, shared: Vector, counted: bool, round_: int) -> None:
        self._testing = True
        super().adopt(shared, counted, round_)

    @property
    def percent(self) -> int | None:
        """How far the last training is, from 0 to 100; None before its first step.

        If a test is done before it, that is the first half.
        """
        if not self._steps:
            return None
        percent = 100 * self._step // self._steps
        if self._behind:
            return percent // 2 + (0 if self._testing else 50)
        return None if self._testing else percent

    def stop(self) -> None:
        """End after the batch in hand, and wait for it."""
        self._stopping = True
        self._jobs.put(None)
        self._thread.join()

    def progress(self, step: int, steps: int) -> None:
        self._step, self._steps = step, steps

    def tested(self) -> None:
        self._testing, self._step, self._steps = False, 0, 0

    def stopped(self, round_: int | None) -> bool:
        return self._stopping or (round_ is not None and round_ <= self._cancelled)

    def put(self, job: Job, round_: int) -> None:
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
