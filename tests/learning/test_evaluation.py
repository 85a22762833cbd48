"""Scores of a model whose answers are known, and areas worked out by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from learning import models
from learning.evaluation import auroc, confusion, evaluate

CPU = torch.device("cpu")


class Brightness(torch.nn.Module):
    """Calls an image by its mean: -2 is class 0, 0 is class 1, 2 is class 2."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        mean = images.mean(dim=(1, 2, 3), keepdim=False).unsqueeze(1)
        return -10 * (mean - torch.tensor([[-2.0, 0.0, 2.0]])).abs()


def flat(*levels: int) -> torch.Tensor:
    return (
        torch.tensor(levels, dtype=torch.uint8)
        .reshape(-1, 1, 1, 1)
        .expand(-1, 1, 4, 4)
        .contiguous()
    )


def test_counts_and_probabilities() -> None:
    scores = evaluate(
        Brightness(), flat(0, 128, 255, 255), torch.tensor([0, 1, 2, 0]), 3, CPU, batch_size=3
    )
    assert scores.confusion.dtype == np.int64
    assert scores.confusion.tolist() == [[1, 0, 1], [0, 1, 0], [0, 0, 1]]
    assert scores.probabilities.dtype == np.float32 and scores.probabilities.shape == (4, 3)
    assert scores.probabilities.sum(axis=1) == pytest.approx(1)
    assert scores.loss == pytest.approx(10, rel=0.01), (
        "one wrong by a logit distance of 40, over four"
    )


def test_rows_are_scored_alone() -> None:
    scores = evaluate(
        Brightness(), flat(0, 128, 255), torch.tensor([0, 1, 0]), 3, CPU, rows=torch.tensor([1, 2])
    )
    assert scores.confusion.tolist() == [[0, 0, 1], [0, 1, 0], [0, 0, 0]]


def test_no_examples_give_empty_scores() -> None:
    scores = evaluate(Brightness(), flat(), torch.tensor([], dtype=torch.int64), 3, CPU)
    assert (
        math.isnan(scores.loss)
        and scores.confusion.sum() == 0
        and scores.probabilities.shape == (0, 3)
    )


def test_evaluation_changes_nothing_and_batches_do_not_matter() -> None:
    torch.manual_seed(0)
    model = models.build("resnet18", channels=1, image_size=28, classes=3)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    images = torch.randint(0, 256, (7, 1, 28, 28), dtype=torch.uint8)
    labels = torch.zeros(7, dtype=torch.int64)
    one, all_at_once = (evaluate(model, images, labels, 3, CPU, batch_size=size) for size in (2, 7))
    assert np.allclose(one.probabilities, all_at_once.probabilities, atol=1e-5)
    assert all(torch.equal(before[key], value) for key, value in model.state_dict().items())


def test_auroc_by_hand_and_where_it_is_not_defined() -> None:
    probabilities = np.array(
        [[0.9, 0.1, 0], [0.4, 0.6, 0], [0.6, 0.4, 0], [0.2, 0.8, 0]], dtype=np.float32
    )
    truth = np.array([0, 0, 1, 1])
    assert auroc(probabilities, truth) == pytest.approx(0.75), (
        "three of four pairs in order; class 2 is left out"
    )
    assert auroc(probabilities, np.array([1, 1, 1, 1])) is None
    assert auroc(probabilities[:0], truth[:0]) is None


def test_confusion_counts_every_cell() -> None:
    truth, predicted = torch.tensor([0, 1, 1, 2]), torch.tensor([2, 1, 1, 0])
    assert confusion(truth, predicted, 3).tolist() == [[0, 0, 1], [0, 2, 0], [1, 0, 0]]
