"""A hospital's own summary.json: what a person reads, and what `flop sim` merges."""

from __future__ import annotations

from typing import Any

import numpy as np

from federation.config import FederationConfig
from federation.model import SharedModel
from hospital_node.work import Confusion, LearnerFacts
from learning.evaluation import metrics


def figures(confusion: Confusion | list[list[int]]) -> dict[str, Any]:
    """Return what follows from a confusion matrix.

    That is accuracy with its 95 % interval, balanced accuracy, sensitivities, and the counts
    themselves.
    """
    counts = np.asarray(confusion, np.int64)
    found = metrics(counts)
    return {
        "examples": found.examples,
        "accuracy": found.accuracy,
        "interval": found.interval,
        "balanced_accuracy": found.balanced_accuracy,
        "sensitivity": found.sensitivity,
        "confusion": counts.tolist(),
    }


def summarise(
    identifier: str,
    run: bytes,
    config: FederationConfig,
    shared: SharedModel,
    learner: LearnerFacts,
    lines: list[dict[str, Any]],
    confusion: Confusion,
) -> dict[str, Any]:
    """Return the summary of a run, without its baselines and whether it was finished.

    Args:
        identifier: The hospital's.
        run: The run's id.
        shared: The shared model as it is now.
        lines: The hospital's metrics.jsonl.
        confusion: Of the last local test.
    """
    return {
        "id": identifier,
        "run": run.hex(),
        "algorithm": config.federation.algorithm,
        "protection": config.protection.kind,
        "model": config.model.name,
        "classes": list(config.model.classes),
        "round": shared.round,
        "train_examples": learner.train_examples,
        "test_examples": learner.test_examples,
        "shared_parameters": shared.layout.size,
        "private_parameters": learner.private_parameters,
        "local_test": figures(confusion),
        "skipped_images": list(learner.skipped),
        "partition_notes": list(learner.notes),
        "train_seconds": sum(line.get("train_seconds", 0.0) for line in lines),
        "protect_seconds": sum(line.get("protect_seconds", 0.0) for line in lines),
        "device": learner.device,
    }
