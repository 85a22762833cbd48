"""A run directory as one object: `flop sim`'s, a coordinator's (no hospital in it), or one
hospital's own.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from federation import config as federation_config
from federation.config import FederationConfig
from federation.errors import ConfigError
from federation.records import files
from federation.records.events import Event
from federation.records.summary import (
    AnySummary,
    CoordinatorSummary,
    Figures,
    HospitalSummary,
    MergedFigures,
    MetricsLine,
    RunSummary,
)
from hospital_node.summary import figures

BASELINES = {
    "majority": "majority class",
    "linear": "linear model",
    "local": "training alone",
}
"""What a run is compared with, in the order of the page."""


@dataclass(frozen=True)
class Pooled:
    """One or several hospitals' tests: the figures of their summed counts, and the mean of their
    accuracies.
    """

    figures: Figures
    mean: float | None


@dataclass(frozen=True)
class HospitalView:
    """`test` is None if nothing was tested; `rounds` are the lines of metrics.jsonl."""

    id: str
    train: list[int]
    test: Figures | None
    baselines: dict[str, Figures]
    rounds: list[MetricsLine]
    skipped: list[str]
    notes: list[str]
    device: str


@dataclass(frozen=True)
class RunView:
    """`test` and `baselines` are over the local tests of all hospitals together, absent if nothing
    is known.

    `events` are the coordinator's; None in a hospital's own directory, which has none. `config` is
    None if the directory holds none.
    """

    folder: Path
    summary: AnySummary
    config: FederationConfig | None
    classes: list[str]
    hospitals: list[HospitalView]
    test: Pooled | None
    baselines: dict[str, Pooled]
    events: list[Event] | None

    @property
    def algorithm(self) -> str:
        if not isinstance(self.summary, CoordinatorSummary):
            return self.summary.algorithm
        return self.config.federation.algorithm if self.config else ""

    @property
    def cohort(self) -> int:
        """Hospitals that are asked in a round; 0 if it is not known."""
        if isinstance(self.summary, RunSummary):
            return self.summary.cohort
        return self.config.federation.cohort if self.config else 0


def read_run(folder: Path) -> RunView:
    """Read what is there. Raises ConfigError if `folder` holds no run, or a damaged one."""
    path = folder / "summary.json"
    if not path.exists():
        raise ConfigError(
            f"{folder}: has no summary.json; give the directory of a run that was finished or"
            " stopped, e.g. runs/sim"
        )
    summary = files.read_summary(path)
    config_path = folder / "config.toml"
    config = federation_config.read(config_path) if config_path.exists() else None
    own = isinstance(summary, HospitalSummary)
    places = [folder] if own else [one.parent for one in _summaries(folder)]
    hospitals = [_hospital(place) for place in places]
    return RunView(
        folder=folder,
        summary=summary,
        config=config,
        classes=_classes(summary, config),
        hospitals=hospitals,
        test=_test(summary, hospitals),
        baselines=_baselines(summary, hospitals),
        events=None if own else files.read_events(folder / "events.jsonl"),
    )


def _summaries(folder: Path) -> list[Path]:
    return sorted((folder / "hospitals").glob("*/summary.json"))


def _hospital(folder: Path) -> HospitalView:
    summary = files.read(folder / "summary.json", HospitalSummary)
    return HospitalView(
        id=summary.id,
        train=summary.train_examples,
        test=_known(summary.local_test),
        baselines={name: found for name, found in summary.baselines.items() if found.examples},
        rounds=_once_a_round(files.read_lines(folder / "metrics.jsonl", MetricsLine)),
        skipped=summary.skipped_images,
        notes=summary.partition_notes,
        device=summary.device,
    )


def _known(found: Figures) -> Figures | None:
    return found if found.examples else None


def _test(summary: AnySummary, hospitals: list[HospitalView]) -> Pooled | None:
    merged = summary.local_test if isinstance(summary, RunSummary) else None
    return _together([one.test for one in hospitals]) or _merged(merged)


def _baselines(summary: AnySummary, hospitals: list[HospitalView]) -> dict[str, Pooled]:
    merged = summary.baselines if isinstance(summary, RunSummary) else {}
    found = {
        name: _together([one.baselines.get(name) for one in hospitals]) or _merged(merged.get(name))
        for name in BASELINES
    }
    return {name: pooled for name, pooled in found.items() if pooled is not None}


def _together(several: list[Figures | None]) -> Pooled | None:
    """All hospitals' tests put together; None unless every hospital has one."""
    tests = [one for one in several if one is not None]
    if not tests or len(tests) < len(several):
        return None
    scores = [one.metrics["accuracy"] for one in tests]
    mean = float(np.mean([score for score in scores if score is not None]))
    return Pooled(figures(np.sum([one.confusion for one in tests], axis=0)), mean)


def _merged(found: MergedFigures | None) -> Pooled | None:
    """What the merged summary alone says, if the hospitals' directories are not here."""
    if found is None or not found.confusion:
        return None
    return Pooled(figures(found.confusion), found.metrics.get("accuracy"))


def _classes(summary: AnySummary, config: FederationConfig | None) -> list[str]:
    if not isinstance(summary, CoordinatorSummary):
        return summary.classes
    return list(config.model.classes) if config else []


def _once_a_round(lines: list[MetricsLine]) -> list[MetricsLine]:
    """A hospital that was restarted may have written a round twice; the last line counts."""
    return [line for _, line in sorted({line.round: line for line in lines}.items())]
