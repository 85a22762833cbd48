"""What a model gets right: losses and confusion counts, and the figures that follow from them.

Confusion matrices have rows of true and columns of predicted classes; those of several hospitals
add up.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from scipy.stats import binomtest
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torchmetrics.functional.classification import binary_auroc

from learning.training import to_input


@dataclass(frozen=True)
class Scores:
    """Mean cross-entropy `loss` (nan without examples), `confusion` int64 (C, C), `probabilities`
    float32 (N, C).
    """

    loss: float
    confusion: np.ndarray
    probabilities: np.ndarray


@dataclass(frozen=True)
class Metrics:
    """All in [0, 1]; None where there is nothing to divide by.

    `interval` is the 95 % Wilson score interval of the accuracy; `balanced_accuracy` averages the
    sensitivities of the classes that are present; `sensitivity` has one entry per class.
    """

    examples: int
    accuracy: float | None
    interval: tuple[float, float] | None
    balanced_accuracy: float | None
    sensitivity: tuple[float | None, ...]


def evaluate(
    model: nn.Module,
    images: Tensor,
    labels: Tensor,
    classes: int,
    device: torch.device,
    batch_size: int = 256,
    *,
    rows: Tensor | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Scores:
    """Scores on uint8 `images` (N, C, H, W) and int64 `labels` (N,), or on those `rows` of them, in
    float32 throughout.

    The model is moved to `device` and left in evaluation mode. No examples give empty scores.
    `progress` is told (examples tested, examples in all) after every batch.
    """
    model = model.to(device).eval()
    rows = torch.arange(len(labels)) if rows is None else rows.cpu()
    logits = torch.empty(len(rows), classes)
    with torch.inference_mode():
        for start in range(0, len(rows), batch_size):
            batch = images[rows[start : start + batch_size].to(images.device)].to(device)
            logits[start : start + batch_size] = model(to_input(batch)).to("cpu", torch.float32)
            if progress is not None:
                progress(min(start + batch_size, len(rows)), len(rows))
        truth = labels.cpu()[rows].to(torch.int64)
        loss = cross_entropy(logits, truth).item() if len(rows) else math.nan
        probabilities = logits.softmax(dim=1)
    return Scores(loss, confusion(truth, logits.argmax(dim=1), classes), probabilities.numpy())


def confusion(truth: Tensor, predicted: Tensor, classes: int) -> np.ndarray:
    """int64 (classes, classes) counts; entry [t, p] is how many of class t were called p."""
    cells = torch.bincount(truth.to(torch.int64) * classes + predicted, minlength=classes * classes)
    return cells.reshape(classes, classes).numpy()


def metrics(counts: np.ndarray) -> Metrics:
    """The figures of one confusion matrix, or of the sum of several."""
    of_class, right, total = counts.sum(axis=1), counts.diagonal(), int(counts.sum())
    sensitivity = tuple(float(r / n) if n else None for r, n in zip(right, of_class, strict=True))
    present = [value for value in sensitivity if value is not None]
    if not total:
        return Metrics(0, None, None, None, sensitivity)
    correct = int(right.sum())
    return Metrics(
        examples=total,
        accuracy=correct / total,
        interval=wilson(correct, total),
        balanced_accuracy=sum(present) / len(present),
        sensitivity=sensitivity,
    )


def wilson(successes: int, trials: int) -> tuple[float, float]:
    """95 % Wilson score interval of a proportion; `trials` at least 1."""
    interval = binomtest(successes, trials).proportion_ci(confidence_level=0.95, method="wilson")
    return float(interval.low), float(interval.high)


def normal_half_width(proportion: float, trials: int) -> float:
    """Half width of the 95 % normal-approximation interval: what stands behind the FedAvg paper's
    plus-minus signs.
    """
    return 1.96 * math.sqrt(proportion * (1 - proportion) / trials)


def auroc(probabilities: np.ndarray, truth: np.ndarray | Tensor) -> float | None:
    """One-versus-rest area under the ROC curve, averaged over the classes that have positives and
    negatives; else None.

    `probabilities` (N, C), `truth` (N,) class indices.
    """
    labels = torch.as_tensor(truth, dtype=torch.int64).cpu()
    classes = probabilities.shape[1]
    counts = torch.bincount(labels, minlength=classes)
    defined = (counts > 0) & (counts < len(labels))
    if not defined.any():
        return None
    scores = torch.from_numpy(probabilities)
    per_class = [
        binary_auroc(scores[:, c], (labels == c).long())
        for c in defined.nonzero().flatten().tolist()
    ]
    return float(torch.stack(per_class).mean())
