"""What a hospital writes down of its run: a line for each round, and a summary."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import ArrayLike

from federation.config import FederationConfig
from federation.model import SharedModel
from federation.records.summary import MetricsLine
from hospital_node.storage import Storage
from hospital_node.summary import summarise
from hospital_node.work import Confusion, LearnerFacts, LocalTestDone, Trained
from learning.metrics import measure


class Journal:
    """Collects what is known of each round until it is tested.

    Attributes:
        confusion: Counts (C, C) of the last local test; zeros before the first one.
    """

    def __init__(
        self, identifier: str, config: FederationConfig, storage: Storage, *, alone: str = ""
    ) -> None:
        """Begin a journal in `storage`. `alone` is the algorithm if there is no federation."""
        self.id, self.config, self.storage, self.alone = identifier, config, storage, alone
        classes = len(config.model.classes)
        self.confusion: Confusion = np.zeros((classes, classes), np.int64)
        self._lines: dict[int, MetricsLine] = {}
        """Not complete; a round may begin before the one before it is tested."""

    def trained(self, round_: int, trained: Trained) -> None:
        """Note how the training of a round went."""
        line = self._line(round_)
        line.train_loss = trained.loss
        line.train_seconds = trained.seconds
        line.steps = trained.steps

    def adopted(self, round_: int, counted: bool, clipped: int | None) -> None:
        """Note whether this hospital's update was counted, and how much of it was clipped."""
        line = self._line(round_)
        line.counted, line.clipped = counted, clipped

    def tested(self, tested: LocalTestDone, protect_seconds: float | None = None) -> MetricsLine:
        """Write the round's line to metrics.jsonl, and return it."""
        self.confusion = tested.confusion
        line = self._line(tested.round)
        line.metrics = measure(tested.confusion)
        line.test_loss = tested.loss if np.isfinite(tested.loss) else None
        line.protect_seconds = protect_seconds
        self.storage.add_metrics(line)
        self._lines = {
            round_: kept for round_, kept in self._lines.items() if round_ > tested.round
        }
        return line

    def summarise(
        self,
        run: bytes,
        shared: SharedModel,
        learner: LearnerFacts,
        baselines: Mapping[str, ArrayLike],
        finished: bool,
    ) -> None:
        """Write summary.json. `baselines` holds confusion counts by name."""
        self.storage.write_summary(
            summarise(
                self.id,
                run,
                self.config,
                shared,
                learner,
                self.storage.metrics(),
                self.confusion,
                baselines,
                finished,
                self.alone,
            )
        )

    def _line(self, round_: int) -> MetricsLine:
        return self._lines.setdefault(round_, MetricsLine(round=round_))
