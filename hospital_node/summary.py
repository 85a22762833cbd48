"""A hospital's own summary.json: what a person reads, and what `flop sim` merges."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import ArrayLike

from federation.config import FederationConfig
from federation.records.summary import Figures, HospitalSummary, MetricsLine
from hospital_node.learner import Learner
from hospital_node.session import Session
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


def about(
    identifier: str,
    config: FederationConfig,
    session: Session,
    learner: Learner,
    lines: Sequence[MetricsLine],
    confusion: ArrayLike,
    baselines: Mapping[str, ArrayLike],
    finished: bool,
) -> HospitalSummary:
    """Return the summary of a hospital's run.

    Args:
        lines: Its metrics.jsonl.
        confusion: Counts of the last local test.
        baselines: Their counts, by name.
    """
    train, test = learner.data.class_counts(learner.classes)
    return HospitalSummary(
        id=identifier,
        run=session.memory.run.hex(),
        algorithm=config.federation.algorithm,
        protection=config.protection.kind,
        model=config.model.name,
        classes=list(config.model.classes),
        round=session.shared.round,
        train_examples=train,
        test_examples=test,
        shared_parameters=session.shared.layout.size,
        private_parameters=int(sum(tensor.size for tensor in learner.private.values())),
        local_test=figures(confusion),
        baselines={name: figures(counts) for name, counts in baselines.items()},
        skipped_images=list(learner.data.skipped),
        partition_notes=list(learner.data.notes),
        train_seconds=sum(line.train_seconds or 0.0 for line in lines),
        protect_seconds=sum(line.protect_seconds or 0.0 for line in lines),
        device=str(learner.device),
        finished=finished,
    )
