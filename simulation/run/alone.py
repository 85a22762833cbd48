"""What a federation is compared with: `local` (every hospital trains alone) and `central` (one
model on everybody's images).

Nothing is sent, so there is no protocol. Both train for as many epochs as the federation would:
rounds × local epochs, from the same start.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from federation import model
from federation.records.state import HospitalStatus, Status
from hospital_node.learner import Learner, accuracy
from hospital_node.storage import Storage
from hospital_node.summary import figures
from learning import device
from learning.data import LocalData
from learning.evaluation import evaluate, metrics
from simulation.run.federate import Stop, Stopped, load_divided
from simulation.run.prepare import Prepared
from simulation.run.seeds import own_secret, run_id

Watch = Callable[[Status], None]


class Alone:
    """`play` trains round by round; a round is the federation's number of local epochs."""

    def __init__(self, prepared: Prepared, stop: Stop, watch: Watch | None) -> None:
        options, config = prepared.options, prepared.config
        self.prepared, self.stop, self.watch = prepared, stop, watch
        device.prepare(None)
        self.where = device.choose(options.device)
        self.start = model.read_start(prepared.folder / config.model.start, config)
        self.divided = load_divided(options, prepared.dataset, self.where)
        self.storages = [
            Storage(options.out / "hospitals" / identifier) for identifier in prepared.ids
        ]
        for storage in self.storages:
            (storage.folder / "metrics.jsonl").unlink(missing_ok=True)
        locals_ = self.divided.locals
        if options.algorithm == "central":
            everything = torch.cat([one.train for one in locals_])
            self.learners = [
                self._learner(
                    LocalData(locals_[0].images, locals_[0].labels, everything, locals_[0].test),
                    "central",
                )
            ]
        else:
            self.learners = [
                self._learner(one, identifier)
                for one, identifier in zip(locals_, prepared.ids, strict=True)
            ]
        self.began = time.monotonic()
        self.confusions = [np.zeros((len(config.model.classes),) * 2, np.int64) for _ in locals_]

    def _learner(self, data: LocalData, name: str) -> Learner:
        learner = Learner(
            self.prepared.config,
            self.start.layout,
            own_secret(self.prepared.options.seed, name),
            data,
            self.where,
        )
        learner.reset(run_id(self.prepared.options.seed))
        return learner

    def play(self) -> None:
        """Raises Stopped."""
        vectors = [self.start.vector.copy() for _ in self.learners]
        run = run_id(self.prepared.options.seed)
        for round_ in range(1, self.prepared.options.rounds + 1):
            losses = []
            for at, learner in enumerate(self.learners):
                done = learner.train(vectors[at], run, round_, stop=self.stop)
                if done.stats.stopped:
                    raise Stopped
                vectors[at] = vectors[at] + done.update
                learner.adopt(vectors[at], counted=True)
                losses.append(done.stats.loss)
            self._test(round_, losses)
        self.vector = vectors[0]

    def _test(self, round_: int, losses: list[float]) -> None:
        classes = len(self.prepared.config.model.classes)
        for number, data in enumerate(self.divided.locals):
            learner = self.learners[number if len(self.learners) > 1 else 0]
            scores = evaluate(
                learner.model, data.images, data.labels, classes, self.where, rows=data.test
            )
            self.confusions[number] = scores.confusion
            found = metrics(scores.confusion)
            line = {
                "round": round_,
                "accuracy": found.accuracy,
                "balanced_accuracy": found.balanced_accuracy,
            }
            line["train_loss"] = losses[number if len(losses) > 1 else 0]
            self.storages[number].add_metrics(
                {**line, "test_loss": None if np.isnan(scores.loss) else scores.loss}
            )
        if self.watch is not None:
            self.watch(self._shot(round_))

    def _shot(self, round_: int) -> Status:
        options, seconds = self.prepared.options, time.monotonic() - self.began
        scores = [accuracy(matrix) for matrix in self.confusions]
        tested = [score for score in scores if score >= 0]
        return Status(
            run="",
            phase=options.algorithm,
            round=round_,
            rounds=options.rounds,
            completed=round_,
            protection="none needed",
            hospitals=[
                HospitalStatus(
                    id=name, state=options.algorithm, progress=1.0, accuracy=score, clipped=None
                )
                for name, score in zip(self.prepared.ids, scores, strict=True)
            ],
            accuracy=sum(tested) / len(tested) if tested else None,
            seconds=seconds,
            seconds_left=seconds / round_ * (options.rounds - round_),
        )

    def summaries(self, baselines: bool) -> list[dict[str, Any]]:
        """A summary for each hospital."""
        made = []
        run = run_id(self.prepared.options.seed)
        for number, data in enumerate(self.divided.locals):
            train, test = data.class_counts(len(self.prepared.config.model.classes))
            summary = {
                "id": self.prepared.ids[number],
                "train_examples": train,
                "test_examples": test,
                "local_test": figures(self.confusions[number]),
                "skipped_images": list(data.skipped),
                "partition_notes": list(data.notes),
                "baselines": {},
                "finished": True,
                "device": str(self.where),
            }
            if baselines:
                learner = self._learner(data, self.prepared.ids[number])
                rounds = 0 if len(self.learners) > 1 else self.prepared.options.rounds
                found = learner.baselines(self.start.vector, run, rounds, self.stop)
                if not rounds:
                    found["local"] = self.confusions[number].tolist()
                summary["baselines"] = {name: figures(matrix) for name, matrix in found.items()}
            self.storages[number].write_summary(summary)
            made.append(summary)
        return made
