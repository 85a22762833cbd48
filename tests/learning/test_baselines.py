"""The two models that everything else has to beat."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from learning.baselines import linear, majority


def bands(examples: int, channels: int, side: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(0, 2, (examples,), generator=generator)
    images = torch.randint(0, 200, (examples, channels, side, side), generator=generator)
    images[labels == 1, :, : side // 2] += 30
    return images.to(torch.uint8), labels


def test_majority_calls_everything_the_commonest_class() -> None:
    counts = majority(torch.tensor([2, 0, 2, 1]), torch.tensor([0, 1, 2, 2]), 3)
    assert counts.tolist() == [[0, 0, 1], [0, 0, 1], [0, 0, 2]]
    assert majority(torch.tensor([1, 0]), torch.tensor([1]), 2).tolist() == [
        [0, 0],
        [1, 0],
    ], "a tie takes the first"


@pytest.mark.parametrize(("channels", "side"), [(1, 28), (3, 64)])
def test_linear_finds_a_linear_difference(channels: int, side: int) -> None:
    train, test = bands(60, channels, side, 0), bands(40, channels, side, 1)
    counts = linear(*train, *test, classes=3)
    assert counts.shape == (3, 3) and counts.sum() == 40
    assert counts.trace() >= 36
    assert np.array_equal(counts, linear(*train, *test, classes=3))


def test_linear_with_one_class_or_one_image() -> None:
    images, _ = bands(4, 1, 28, 0)
    labels = torch.full((4,), 1)
    assert linear(images, labels, images, labels, 3).tolist() == [[0, 0, 0], [0, 4, 0], [0, 0, 0]]
    assert linear(images[:1], labels[:1], images, labels, 3)[1, 1] == 4


@pytest.mark.parametrize("baseline", [majority, linear])
def test_nothing_to_train_on_is_refused(baseline) -> None:
    images, labels = bands(0, 1, 28, 0)
    with pytest.raises(ValueError, match="empty"):
        if baseline is majority:
            majority(labels, labels, 2)
        else:
            linear(images, labels, images, labels, 2)


def test_no_test_images_give_an_empty_confusion() -> None:
    images, labels = bands(6, 1, 28, 0)
    assert linear(images, labels, images[:0], labels[:0], 2).sum() == 0
    assert majority(labels, labels[:0], 2).sum() == 0
