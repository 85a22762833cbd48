"""A hospital's own summary.json: what a person reads, and what `flop sim` merges."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from federation.config import FederationConfig
from federation.records.summary import Figures
from hospital_node.learner import Learner
from hospital_node.session import Session
from hospital_node.storage import Storage
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
    storage: Storage,
    confusion: np.ndarray,
) -> dict[str, Any]:
    """Everything but the baselines and whether the run was finished."""
    train, test = learner.data.class_counts(learner.classes)
    lines = storage.metrics()
    return {
        "id": identifier,
        "run": session.memory.run.hex(),
        "algorithm": config.federation.algorithm,
        "protection": config.protection.kind,
        "model": config.model.name,
        "classes": list(config.model.classes),
        "round": session.shared.round,
        "train_examples": train,
        "test_examples": test,
        "shared_parameters": session.shared.layout.size,
        "private_parameters": int(sum(tensor.size for tensor in learner.private.values())),
        "local_test": figures(confusion),
        "skipped_images": list(learner.data.skipped),
        "partition_notes": list(learner.data.notes),
        "train_seconds": sum(line.get("train_seconds", 0.0) for line in lines),
        "protect_seconds": sum(line.get("protect_seconds", 0.0) for line in lines),
        "device": str(learner.device),
    }
