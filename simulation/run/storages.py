"""Where a simulation's keepers write: less often or never, since it begins again after a crash."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from federation.config import FederationConfig
from federation.model import SharedModel
from federation.records.summary import HospitalSummary, MetricsLine
from hospital_node.durable import Durable
from hospital_node.storage import Storage


class Deferred(Storage):
    """A hospital's folder to which models are written when the run is over, by `flush`."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._shared: SharedModel | None = None
        self._private: dict[str, NDArray[np.float32]] = {}
        for name in ("metrics.jsonl", "summary.json"):
            (folder / name).unlink(missing_ok=True)

    def write_durable(self, durable: Durable) -> None:
        """Write nothing: no later process goes on from here."""

    def write_shared(self, shared: SharedModel) -> None:
        self._shared = shared

    def write_private(self, tensors: dict[str, NDArray[np.float32]]) -> None:
        self._private = tensors

    def flush(self) -> None:
        """Write the models as they are now; they are on the disk when this returns."""
        if self._shared is not None:
            super().write_shared(self._shared)
            super().write_private(self._private)


class Unwritten(Storage):
    """Keeps a hospital's lines and summary in this process; for benchmarks and tests."""

    def __init__(self) -> None:
        self.folder = Path("nowhere")
        self.lines: list[MetricsLine] = []
        self.summary: HospitalSummary | None = None

    def write_durable(self, durable: Durable) -> None:
        """Write nothing."""

    def write_shared(self, shared: SharedModel) -> None:
        """Write nothing."""

    def write_private(self, tensors: dict[str, NDArray[np.float32]]) -> None:
        """Write nothing."""

    def begin_run(self, durable: Durable, config: FederationConfig) -> None:
        self.lines, self.summary = [], None

    def add_metrics(self, line: MetricsLine) -> None:
        self.lines.append(line)

    def metrics(self) -> list[MetricsLine]:
        return self.lines

    def write_summary(self, summary: HospitalSummary) -> None:
        self.summary = summary
