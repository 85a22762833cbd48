"""`Work` with a real learner: requests become jobs, and a subclass says when they are done."""

from __future__ import annotations

from abc import ABC, abstractmethod

from federation.layout import Vector
from hospital_node.learner import Learner
from hospital_node.storage import Storage
from hospital_node.work import BaselinesDone, Job, LearnerFacts, LocalTestDone, Result, TrainingDone


class Jobs(ABC):
    """Makes jobs for `learner`; its private layers go to `storage`."""

    def __init__(self, learner: Learner, storage: Storage) -> None:
        self.learner, self.storage = learner, storage

    @abstractmethod
    def put(self, job: Job, round_: int) -> None:
        """Have `job`, which belongs to `round_` (0: to none), done after the earlier ones."""

    def stopped(self, round_: int | None) -> bool:
        """Whether the work on `round_` (None: on none) is to end between two batches."""
        return False

    def progress(self, step: int, steps: int) -> None:
        """Is told that a training or a test has made `step` of `steps` steps."""
        return

    def tested(self) -> None:
        """Is told that a test is done."""
        return

    # ---- Work ------------------------------------------------------------------------

    def reset(self, run: bytes) -> None:
        def job() -> Result | None:
            self.learner.reset(run)
            return None

        self.put(job, 0)

    def train(self, shared: Vector, run: bytes, round_: int) -> None:
        def job() -> Result | None:
            if self.stopped(round_):
                return None
            self.progress(0, 0)
            trained = self.learner.train(
                shared, run, round_, self.progress, lambda: self.stopped(round_)
            )
            return None if trained is None else TrainingDone(round_, trained)

        self.put(job, round_)

    def discard(self, round_: int) -> None:
        def job() -> Result | None:
            self.learner.discard()
            return None

        self.put(job, round_)

    def adopt(self, shared: Vector, counted: bool, round_: int) -> None:
        def job() -> Result:
            self.learner.adopt(shared, counted)
            self.storage.write_private(self.learner.private)
            scores = self.learner.test(self.progress)
            self.tested()
            return LocalTestDone(round_, scores.loss, scores.confusion)

        self.put(job, round_)

    def baselines(self, start: Vector, run: bytes, rounds: int) -> None:
        def job() -> Result:
            return BaselinesDone(
                self.learner.baselines(start, run, rounds, lambda: self.stopped(None))
            )

        self.put(job, 0)

    def facts(self) -> LearnerFacts:
        return self.learner.facts()
