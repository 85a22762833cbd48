"""The thread that trains and tests, so that the hospital's socket is served meanwhile."""

from __future__ import annotations

import queue
import threading
import traceback
from collections.abc import Callable

from hospital_node.jobs import Jobs
from hospital_node.learner import Learner
from hospital_node.storage import Storage
from hospital_node.work import Failed, Job, Result


class Worker(Jobs):
    """Does one job after the other.

    Attributes:
        results: Fills up as jobs are done; `wake` is called for each result.
        step: How far the current training is,
        steps: of how many steps; 0 before its first one.
    """

    def __init__(self, learner: Learner, storage: Storage, wake: Callable[[], None]) -> None:
        super().__init__(learner, storage)
        self.wake = wake
        self.results: queue.SimpleQueue[Result] = queue.SimpleQueue()
        self.step = self.steps = 0
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

    def stop(self) -> None:
        """End after the batch in hand, and wait for it."""
        self._stopping = True
        self._jobs.put(None)
        self._thread.join()

    def progress(self, step: int, steps: int) -> None:
        self.step, self.steps = step, steps

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
