"""What any model has to beat: the most common class, and a linear model on small pixels.

Both return the confusion matrix of the test.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d, cross_entropy

from learning.evaluation import confusion
from learning.training import to_input

SIDE = 32
L2 = 1e-2
STEPS = 100


def majority(train_labels: Tensor, test_labels: Tensor, classes: int) -> np.ndarray:
    """Always the most common class of the training labels, the first at a tie.

    Raises:
        ValueError: If the training set is empty.
    """
    if len(train_labels) == 0:
        raise ValueError("the training set is empty, so it has no most common class")
    commonest = torch.bincount(train_labels.cpu().to(torch.int64), minlength=classes).argmax()
    return confusion(test_labels.cpu(), commonest.expand(len(test_labels)), classes)


def linear(
    train_images: Tensor,
    train_labels: Tensor,
    test_images: Tensor,
    test_labels: Tensor,
    classes: int,
) -> np.ndarray:
    """Multinomial logistic regression on standardised pixels, fitted by L-BFGS from zero.

    Images are uint8 (N, C, H, W), averaged down to at most 32 x 32 pixels. Deterministic.

    Raises:
        ValueError: If the training set is empty.
    """
    if len(train_labels) == 0:
        raise ValueError("the training set is empty, so a linear model has nothing to fit")
    x, truth = _pixels(train_images), train_labels.cpu().to(torch.int64)
    mean, deviation = x.mean(dim=0), x.std(dim=0, correction=0).clamp(min=1e-3)
    x = (x - mean) / deviation
    weight = torch.zeros(x.shape[1], classes, requires_grad=True)
    bias = torch.zeros(classes, requires_grad=True)
    optimizer = torch.optim.LBFGS(
        [weight, bias], max_iter=STEPS, history_size=10, line_search_fn="strong_wolfe"
    )

    def objective() -> Tensor:
        optimizer.zero_grad()
        loss = cross_entropy(x @ weight + bias, truth) + L2 / 2 * weight.square().sum()
        loss.backward()  # type: ignore[no-untyped-call]  # torch's own
        return loss

    optimizer.step(objective)  # type: ignore[no-untyped-call]  # torch's own
    with torch.no_grad():
        predicted = ((_pixels(test_images) - mean) / deviation @ weight + bias).argmax(dim=1)
    return confusion(test_labels.cpu(), predicted, classes)


def _pixels(images: Tensor) -> Tensor:
    """(N, C * side * side) float32, with a side of at most 32 pixels.

    In pieces, so that large images are never all floats at once.
    """
    side = min(SIDE, images.shape[-1])
    pieces = [
        adaptive_avg_pool2d(to_input(piece.cpu()), side).flatten(1)
        for piece in torch.split(images, 1024)
    ]
    return torch.cat(pieces)
