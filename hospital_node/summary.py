"""A hospital's own summary.json: what a person reads, and what `flop sim` merges."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import ArrayLike

from federation.config import FederationConfig
from federation.model import SharedModel
from federation.records.summary import Figures, HospitalSummary, MetricsLine
from hospital_node.work import LearnerFacts
from learning.metrics import accuracy_interval, measure, sensitivity


def figures(confusion: ArrayLike) -> Figures:
    """Return every metric of confusion counts (C, C), and the counts themselves."""
    counts = np.asarray(confusion, np.int64)
    examples = int(counts.sum())
    return Figures(
        examples=examples,
        confusion=counts.tolist(),
        interval=accuracy_interval(counts) if examples else None,
        sensitivity=sensitivity(counts),
        metrics=measure(counts),
    )


def summarise(
    identifier: str,
    run: bytes,
    config: FederationConfig,
    shared: SharedModel,
    learner: LearnerFacts,
    lines: Sequence[MetricsLine],
    confusion: ArrayLike,
    baselines: Mapping[str, ArrayLike],
    finished: bool,
    alone: str = "",
) -> HospitalSummary:
    """Return the summary of a run.

    Args:
        identifier: The hospital's.
        run: The run's id.
        shared: The shared model as it is now.
        lines: The hospital's metrics.jsonl.
        confusion: Counts of the last local test.
        baselines: The baselines' counts, by name.
        finished: Whether the run is over.
        alone: The algorithm, if there was no federation and so nothing to protect.
    """
    return HospitalSummary(
        id=identifier,
        run=run.hex(),
        algorithm=alone or config.federation.algorithm,
        protection="none" if alone else config.protection.kind,
        model=config.model.name,
        classes=list(config.model.classes),
        round=shared.round,
        train_examples=learner.train_examples,
        test_examples=learner.test_examples,
        shared_parameters=shared.layout.size,
        private_parameters=learner.private_parameters,
        local_test=figures(confusion),
        baselines={name: figures(counts) for name, counts in baselines.items()},
        skipped_images=list(learner.skipped),
        partition_notes=list(learner.notes),
        train_seconds=sum(line.train_seconds or 0.0 for line in lines),
        protect_seconds=sum(line.protect_seconds or 0.0 for line in lines),
        device=learner.device,
        finished=finished,
    )
