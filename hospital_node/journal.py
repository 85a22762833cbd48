"""What a hospital writes down of its run: a line for each round, and a summary."""

from __future__ import annotations

from typing import Any

import numpy as np

from federation.config import FederationConfig
from federation.model import SharedModel
from hospital_node.storage import Storage
from hospital_node.summary import figures, summarise
from hospital_node.work import Confusion, LearnerFacts, LocalTestDone, Trained
from learning.evaluation import Metrics, metrics


class Journal:
    """Collects what is known of each round until it is tested.

    Attributes:
        confusion: Counts (C, C) of the last local test; zeros before the first one.
    """

    def __init__(self, identifier: str, config: FederationConfig, storage: Storage) -> None:
        self.id, self.config, self.storage = identifier, config, storage
        classes = len(config.model.classes)
        self.confusion: Confusion = np.zeros((classes, classes), np.int64)
        self._lines: dict[int, dict[str, Any]] = {}
        """Not complete; a round may begin before the one before it is tested."""

    def trained(self, round_: int, trained: Trained) -> None:
        """Note how the training of a round went."""
        line = self._line(round_)
        line["train_loss"] = trained.loss
        line["train_seconds"] = trained.seconds
        line["steps"] = trained.steps

    def adopted(self, round_: int, counted: bool, clipped: int | None) -> None:
        """Note whether this hospital's update was counted, and how much of it was clipped."""
        line = self._line(round_)
        line["counted"] = counted
        if clipped is not None:
            line["clipped"] = clipped

    def tested(self, tested: LocalTestDone, protect_seconds: float | None = None) -> Metrics:
        """Write the round's line to metrics.jsonl; return what follows from the test."""
        self.confusion = tested.confusion
        found, line = metrics(tested.confusion), self._line(tested.round)
        line["accuracy"] = found.accuracy
        line["balanced_accuracy"] = found.balanced_accuracy
        line["test_loss"] = tested.loss if np.isfinite(tested.loss) else None
        if protect_seconds is not None:
            line["protect_seconds"] = protect_seconds
        self.storage.add_metrics(line)
        self._lines = {
            round_: kept for round_, kept in self._lines.items() if round_ > tested.round
        }
        return found

    def clipped(self, round_: int) -> int | None:
        """How many values of this hospital's update were clipped in a round not yet tested."""
        return self._line(round_).get("clipped")

    def summarise(
        self,
        run: bytes,
        shared: SharedModel,
        learner: LearnerFacts,
        baselines: dict[str, list[list[int]]],
        finished: bool,
    ) -> None:
        """Write summary.json."""
        summary = summarise(
            self.id, run, self.config, shared, learner, self.storage.metrics(), self.confusion
        )
        summary["baselines"] = {name: figures(found) for name, found in baselines.items()}
        summary["finished"] = finished
        self.storage.write_summary(summary)

    def _line(self, round_: int) -> dict[str, Any]:
        return self._lines.setdefault(round_, {"round": round_})
