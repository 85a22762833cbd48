"""A hospital's own summary.json: what a person reads, and what `flop sim` merges."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from learning.evaluation import metrics

if TYPE_CHECKING:
    from hospital_node.service import Node


def figures(confusion: np.ndarray | list[list[int]]) -> dict[str, Any]:
    """Accuracy with its 95 % interval, balanced accuracy, sensitivities and the counts themselves."""
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


def summarise(node: Node, confusions: dict[str, list[list[int]]] | None) -> dict[str, Any]:
    """What this hospital knows at the end, or where it was stopped."""
    config, session, data = node.hospital.config, node.session, node.data
    train, test = data.class_counts(node.learner.classes)
    lines = node.storage.metrics()
    return {
        "id": node.hospital.secrets.id,
        "run": session.memory.run.hex(),
        "algorithm": config.federation.algorithm,
        "protection": config.protection.kind,
        "model": config.model.name,
        "classes": list(config.model.classes),
        "round": session.shared.round,
        "finished": node.finished is not None and not node.finished.code,
        "train_examples": train,
        "test_examples": test,
        "shared_parameters": session.shared.layout.size,
        "private_parameters": int(sum(tensor.size for tensor in node.learner.private.values())),
        "local_test": figures(node.confusion),
        "baselines": {name: figures(matrix) for name, matrix in (confusions or {}).items()},
        "skipped_images": list(data.skipped),
        "partition_notes": list(data.notes),
        "train_seconds": sum(line.get("train_seconds", 0.0) for line in lines),
        "device": str(node.learner.device),
    }
