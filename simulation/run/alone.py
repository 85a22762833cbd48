"""What a federation is compared with: `local` (every hospital trains alone) and `central` (one
model on everybody's images).

Nothing is sent, so there is no protocol. Both train for as many epochs as the federation would:
rounds × local epochs, from the same start.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
import torch

from federation import model
from federation.layout import Layout, Vector
from federation.model import SharedModel
from federation.records.state import HospitalStatus, Status
from hospital_node.journal import Journal
from hospital_node.learner import Learner
from hospital_node.work import LearnerFacts, LocalTestDone
from learning import device
from learning.data import LocalData
from learning.evaluation import evaluate
from learning.metrics import measure
from simulation.run.federate import Stop, Stopped, load_divided
from simulation.run.prepare import Prepared
from simulation.run.seeds import own_secret, run_id
from simulation.run.storages import Deferred

Watch = Callable[[Status], None]


class Unfederated:
    """Trains without a federation; every hospital writes a journal as in a federation.

    Attributes:
        learners: One for each hospital, or a single one if the algorithm is `central`.
    """

    def __init__(self, prepared: Prepared, stop: Stop, watch: Watch | None) -> None:
        options, config = prepared.options, prepared.config
        self.prepared, self.stop, self.watch = prepared, stop, watch
        device.prepare(None)
        self.where = device.choose(options.device)
        self.start = model.read_start(prepared.folder / config.model.start, config)
        self.run = run_id(options.seed)
        self.divided = load_divided(prepared, self.where)
        self.journals = [
            Journal(one, config, Deferred(options.out / "hospitals" / one), alone=options.algorithm)
            for one in prepared.ids
        ]
        locals_ = self.divided.locals
        if options.algorithm == "central":
            everything = torch.cat([one.train for one in locals_])
            data = LocalData(locals_[0].images, locals_[0].labels, everything, locals_[0].test)
            self.learners = [self._learner(data, "central")]
        else:
            self.learners = [
                self._learner(one, identifier)
                for one, identifier in zip(locals_, prepared.ids, strict=True)
            ]
        self.began = time.monotonic()
        self.round = 0

    def _learner(self, data: LocalData, name: str) -> Learner:
        options, config = self.prepared.options, self.prepared.config
        secret, several = own_secret(options.seed, name), device.choose_several(options.device)
        learner = Learner(config, self.start.layout, secret, data, several)
        learner.reset(self.run)
        return learner

    def play(self) -> None:
        """Train round by round; a round is the federation's number of local epochs.

        Raises:
            Stopped: If `stop` said so.
        """
        vectors = [self.start.vector.copy() for _ in self.learners]
        for round_ in range(1, self.prepared.options.rounds + 1):
            self.round = round_
            for at, learner in enumerate(self.learners):
                vectors[at] = self._train(learner, vectors[at])
            self._test()
        self.vector = vectors[0]

    def _train(self, learner: Learner, vector: Vector) -> Vector:
        done = learner.train(vector, self.run, self.round, stop=self.stop)
        if done is None:
            raise Stopped
        vector = vector + done.update
        learner.adopt(vector, counted=True)
        for number, journal in enumerate(self.journals):
            if self._learner_of(number) is learner:
                journal.trained(self.round, done)
        return vector

    def _learner_of(self, number: int) -> Learner:
        return self.learners[number if len(self.learners) > 1 else 0]

    def _test(self) -> None:
        for number, data in enumerate(self.divided.locals):
            learner = self._learner_of(number)
            scores = evaluate(
                learner.model, data.images, data.labels, learner.classes, self.where, rows=data.test
            )
            self.journals[number].tested(LocalTestDone(self.round, scores.loss, scores.confusion))
        if self.watch is not None:
            self.watch(self._shot())

    def _shot(self) -> Status:
        options, seconds = self.prepared.options, time.monotonic() - self.began
        scores = [measure(journal.confusion)["accuracy"] for journal in self.journals]
        tested = [score for score in scores if score is not None]
        return Status(
            run="",
            phase=options.algorithm,
            round=self.round,
            rounds=options.rounds,
            completed=self.round,
            protection="none needed",
            hospitals=[
                HospitalStatus(
                    id=name, state=options.algorithm, progress=1.0, accuracy=score, clipped=None
                )
                for name, score in zip(self.prepared.ids, scores, strict=True)
            ],
            accuracy=sum(tested) / len(tested) if tested else None,
            seconds=seconds,
            seconds_left=seconds / self.round * (options.rounds - self.round),
        )

    def summarise(self, baselines: bool) -> None:
        """Write a summary for each hospital."""
        nothing = np.zeros(0, np.float32)
        shared = SharedModel(Layout((), ()), nothing, nothing, self.round)
        for number, data in enumerate(self.divided.locals):
            journal = self.journals[number]
            found = self._baselines(number) if baselines else {}
            journal.summarise(self.run, shared, self._facts(number, data), found, finished=True)

    def _facts(self, number: int, data: LocalData) -> LearnerFacts:
        """A central model is trained on everybody's images, but each hospital has only its own."""
        learner = self._learner_of(number)
        train, test = data.class_counts(learner.classes)
        private = sum(value.numel() for value in learner.model.parameters())
        return LearnerFacts(train, test, private, data.skipped, data.notes, str(self.where))

    def _baselines(self, number: int) -> dict[str, list[list[int]]]:
        """Training alone is a baseline of `central`; `local` is that baseline itself."""
        options, journal = self.prepared.options, self.journals[number]
        rounds = options.rounds if options.algorithm == "central" else 0
        learner = self._learner(self.divided.locals[number], journal.id)
        found = learner.baselines(self.start.vector, self.run, rounds, self.stop)
        if not rounds:
            found["local"] = journal.confusion.tolist()
        return found
