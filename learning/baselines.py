"""What any model has to beat: the commonest class, and a linear model on small pixels. Both return
a confusion matrix.
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
    """Always the commonest class of the training labels (the first of them on a tie). ValueError
    without any.
    """
    if len(train_labels) == 0:
        raise ValueError("the training set is empty, so it has no commonest class")
    commonest = torch.bincount(train_labels.cpu().to(torch.int64), minlength=classes).argmax()
    return confusion(test_labels.cpu(), commonest.expand(len(test_labels)), classes)


def linear(
    train_images: Tensor,
    train_labels: Tensor,
    test_images: Tensor,
    test_labels: Tensor,
    classes: int,
) -> np.ndarray:
    """Multinomial logistic regression on standardised pixels, averaged down to at most 32x32,
    fitted by L-BFGS from zero.

    uint8 images (N, C, H, W). Deterministic. ValueError on an empty training set.
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
        loss.backward()
        return loss

    optimizer.step(objective)
    with torch.no_grad():
        predicted = ((_pixels(test_images) - mean) / deviation @ weight + bias).argmax(dim=1)
    return confusion(test_labels.cpu(), predicted, classes)


def _pixels(images: Tensor) -> Tensor:
    """(N, C * side * side) float32, the side being at most 32. In pieces, so that large images are
    never all floats at once.
    """
    side = min(SIDE, images.shape[-1])
    pieces = [
        adaptive_avg_pool2d(to_input(piece.cpu()), side).flatten(1) for piece in images.split(1024)
    ]
    return torch.cat(pieces)
