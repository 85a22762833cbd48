"""What a model gets right: its loss, its probabilities, and the confusion counts from which
every metric of `learning/metrics.py` follows.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torchmetrics.functional.classification import binary_auroc

from learning.training import to_input


@dataclass(frozen=True)
class Scores:
    """The result of one evaluation of N examples over C classes.

    Attributes:
        loss: Mean cross-entropy; nan without examples.
        confusion: int64 (C, C); rows are true, columns predicted classes.
        probabilities: float32 (N, C).
    """

    loss: float
    confusion: np.ndarray
    probabilities: np.ndarray


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
    """Evaluate in float32.

    The model is moved to `device` and left in evaluation mode.

    Args:
        images: uint8 (N, C, H, W).
        labels: int64 (N,).
        classes: How many the model tells apart.
        rows: Only these examples; None: all of them.
        progress: Is told (examples tested, examples in all) after every batch.

    Returns:
        The scores; without examples their loss is nan and their arrays are empty.
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


def auroc(probabilities: np.ndarray, truth: np.ndarray | Tensor) -> float | None:
    """Return the one-versus-rest area under the ROC curve.

    Args:
        probabilities: float32 (N, C).
        truth: Class indices (N,).

    Returns:
        The mean over the classes that have positives and negatives; None if there are none.
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
