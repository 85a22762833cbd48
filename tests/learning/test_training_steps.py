"""Single steps of training, against the same arithmetic written apart."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from learning.training import (
    Trainer,
    TrainSettings,
    batch_bounds,
    class_weights,
    classes_of,
    to_input,
)

CPU = torch.device("cpu")
PLAIN = TrainSettings(epochs=1, batch_size=6, lr=0.1, optimizer="sgd")
IMAGES = torch.randint(
    0, 256, (6, 1, 4, 4), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)
)
LABELS = torch.tensor([0, 0, 0, 1, 1, 2])


def linear(seed: int = 0) -> nn.Sequential:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Flatten(), nn.Linear(16, 3))


def gradient(model: nn.Module, weights: np.ndarray | None = None) -> tuple[np.ndarray, float]:
    """Of the (weighted) mean cross-entropy, for the weight of `linear`; and the loss. In numpy."""
    x = ((IMAGES.numpy().reshape(6, 16) / 255) - 0.5) / 0.25
    layer = model[1]
    z = x @ layer.weight.detach().numpy().T + layer.bias.detach().numpy()
    p = np.exp(z) / np.exp(z).sum(axis=1, keepdims=True)
    y = LABELS.numpy()
    share = np.ones(6) if weights is None else weights[y]
    share = share / share.sum()
    loss = float(-(share * np.log(p[np.arange(6), y])).sum())
    return ((p - np.eye(3)[y]) * share[:, None]).T @ x, loss


def step(how: TrainSettings, model: nn.Module | None = None, **extra) -> tuple[nn.Module, float]:
    model = model or linear()
    stats = Trainer(model, how, CPU, **extra).train(IMAGES, LABELS, seed=0)
    return model, stats.loss


def moved(model: nn.Module, start: nn.Module) -> np.ndarray:
    return (model[1].weight - start[1].weight).detach().numpy()


def test_one_sgd_step_is_minus_the_rate_times_the_gradient() -> None:
    expected, loss = gradient(linear())
    model, reported = step(PLAIN)
    assert np.allclose(moved(model, linear()), -0.1 * expected, atol=1e-5)
    assert reported == pytest.approx(loss, rel=1e-5)


def test_weight_decay_adds_the_weights_to_the_gradient() -> None:
    start = linear()
    expected, _ = gradient(start)
    model, _ = step(replace(PLAIN, weight_decay=0.5))
    decay = 0.5 * start[1].weight.detach().numpy()
    assert np.allclose(moved(model, start), -0.1 * (expected + decay), atol=1e-5)


def test_class_weights_count_every_class_alike() -> None:
    start = linear()
    expected, loss = gradient(start, np.array([6 / (3 * 3), 6 / (3 * 2), 6 / (3 * 1)]))
    model, reported = step(replace(PLAIN, class_weights=True))
    assert np.allclose(moved(model, start), -0.1 * expected, atol=1e-5)
    assert reported == pytest.approx(loss, rel=1e-5)


def test_class_weights_are_those_of_the_rows_in_training() -> None:
    """Not of the whole set, whose other rows belong to other hospitals."""
    rows = torch.tensor([0, 3, 5])
    ends = []
    for weighted in (False, True):
        model = linear()
        how = replace(PLAIN, class_weights=weighted)
        Trainer(model, how, CPU).train(IMAGES, LABELS, seed=0, rows=rows)
        ends.append(moved(model, linear()))
    assert np.allclose(ends[0], ends[1], atol=1e-6), "one image of each class: nothing to balance"


def test_momentum_remembers_the_last_step_within_a_round_only() -> None:
    how = replace(PLAIN, epochs=2, momentum=0.9)
    start, model = linear(), linear()
    first, _ = gradient(model)
    half = linear()
    with torch.no_grad():
        half[1].weight -= 0.1 * torch.from_numpy(first).float()
        p = torch.softmax(linear()(to_input(IMAGES)), 1) - nn.functional.one_hot(LABELS, 3)
        half[1].bias -= 0.1 * p.mean(0)
    second, _ = gradient(half)
    trained, _ = step(how, model)
    assert np.allclose(moved(trained, start), -0.1 * (1.9 * first + second), atol=1e-4)
    again = linear()
    trainer = Trainer(again, PLAIN, CPU)
    with_memory = Trainer(linear(), replace(PLAIN, momentum=0.9), CPU)
    for _ in range(2):
        trainer.train(IMAGES, LABELS, seed=0)
        with_memory.train(IMAGES, LABELS, seed=0)
    assert torch.equal(again[1].weight, with_memory.model[1].weight)


def test_adams_first_step_is_the_rate_in_the_gradients_direction() -> None:
    expected, _ = gradient(linear())
    model, _ = step(replace(PLAIN, optimizer="adam", lr=0.01))
    assert np.allclose(moved(model, linear()), -0.01 * np.sign(expected), atol=1e-4)


def test_fedprox_pulls_nothing_in_the_first_step_and_by_mu_in_the_second() -> None:
    free, _ = step(PLAIN)
    held, _ = step(replace(PLAIN, proximal_mu=3.0))
    assert torch.equal(free[1].weight, held[1].weight), "the first step is at the start itself"
    free_two, _ = step(replace(PLAIN, epochs=2))
    held_two, _ = step(replace(PLAIN, epochs=2, proximal_mu=3.0))
    pull = moved(held_two, linear()) - moved(free_two, linear())
    assert np.allclose(pull, -0.1 * 3.0 * moved(free, linear()), atol=1e-5)


def test_frozen_parameters_stay() -> None:
    model = linear()
    model[1].bias.requires_grad_(False)
    bias = model[1].bias.clone()
    trained, _ = step(replace(PLAIN, weight_decay=0.1, proximal_mu=1.0), model)
    assert torch.equal(trained[1].bias, bias)
    assert not torch.equal(trained[1].weight, linear()[1].weight)


def test_every_image_is_seen_once_an_epoch_in_an_order_of_the_seed() -> None:
    def order(seed: int) -> list[list[int]]:
        numbers = torch.arange(10, dtype=torch.uint8).reshape(10, 1, 1, 1).expand(10, 1, 4, 4)
        seen: list[list[int]] = []

        def look(batch: torch.Tensor, _: torch.Generator) -> torch.Tensor:
            seen.append(batch[:, 0, 0, 0].tolist())
            return batch

        how = replace(PLAIN, epochs=2, batch_size=4)
        Trainer(linear(), how, CPU, augment=look).train(
            numbers.contiguous(), torch.arange(10) % 3, seed=seed
        )
        return seen

    first = order(1)
    assert [len(batch) for batch in first] == [4, 4, 2] * 2
    epochs = [[row for batch in part for row in batch] for part in (first[:3], first[3:])]
    assert sorted(epochs[0]) == sorted(epochs[1]) == list(range(10)) and epochs[0] != epochs[1]
    assert order(1) == first != order(2)


def test_augmentation_draws_apart_from_order_and_dropout() -> None:
    """What an augmentation draws, however much, leaves the order and dropout as they were."""

    def run(draws: int) -> torch.Tensor:
        torch.manual_seed(0)
        model = nn.Sequential(nn.Flatten(), nn.Dropout(0.5), nn.Linear(16, 3))

        def draw(batch: torch.Tensor, coins: torch.Generator) -> torch.Tensor:
            torch.rand(draws, generator=coins)
            return batch

        how = replace(PLAIN, epochs=3, batch_size=2)
        Trainer(model, how, CPU, augment=draw).train(IMAGES, LABELS, seed=4)
        return next(model[2].parameters())

    assert torch.equal(run(0), run(17))


def test_an_augmentations_numbers_are_new_in_every_batch_and_follow_the_seed() -> None:
    def drawn(seed: int) -> list[float]:
        found: list[float] = []

        def draw(batch: torch.Tensor, coins: torch.Generator) -> torch.Tensor:
            found.append(torch.rand((), generator=coins).item())
            return batch

        Trainer(linear(), replace(PLAIN, epochs=2, batch_size=2), CPU, augment=draw).train(
            IMAGES, LABELS, seed=seed
        )
        return found

    first = drawn(3)
    assert len(set(first)) == 6 and drawn(3) == first and not set(first) & set(drawn(4))


@pytest.mark.parametrize("after", [0, 1, 2])
def test_a_stop_leaves_the_weights_of_the_batches_before_it(after: int) -> None:
    how = replace(PLAIN, batch_size=2)
    stopped, counted = linear(), [0]

    def stop() -> bool:
        counted[0] += 1
        return counted[0] > after

    stats = Trainer(stopped, how, CPU).train(IMAGES, LABELS, seed=1, stop=stop)
    order = torch.randperm(6, generator=torch.Generator().manual_seed(1))
    by_hand = linear()
    optimizer = torch.optim.SGD(by_hand.parameters(), lr=0.1)
    losses = []
    for rows in order.split(2)[:after]:
        loss = nn.functional.cross_entropy(by_hand(to_input(IMAGES[rows])), LABELS[rows])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert torch.allclose(stopped[1].weight, by_hand[1].weight, atol=1e-6)
    assert (stats.steps, stats.stopped, stats.examples) == (after, True, 6)
    assert stats.loss == pytest.approx(np.mean(losses)) if after else math.isnan(stats.loss)


def test_the_callers_images_and_labels_are_left_alone() -> None:
    images, labels = IMAGES.clone(), LABELS.clone()
    Trainer(linear(), PLAIN, CPU).train(images, labels, seed=0)
    assert torch.equal(images, IMAGES) and torch.equal(labels, LABELS)


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 60), st.integers(1, 20), st.integers(1, 4))
def test_batches_cover_the_examples_and_none_is_too_small(examples, size, smallest) -> None:
    bounds = batch_bounds(examples, size, smallest)
    assert [row for start, end in bounds for row in range(start, end)] == list(range(examples))
    lengths = [end - start for start, end in bounds]
    assert all(length <= size + smallest - 1 for length in lengths)
    if size >= smallest and examples >= smallest:
        assert min(lengths) >= smallest
    assert all(length == size for length in lengths[:-1])


@settings(deadline=None, max_examples=40)
@given(st.lists(st.integers(0, 4), min_size=1, max_size=40))
def test_class_weights_are_one_on_average_and_equal_in_sum(labels) -> None:
    given_labels = torch.tensor(labels)
    weights = class_weights(given_labels, 5)
    assert weights[given_labels].mean().item() == pytest.approx(1, rel=1e-5)
    sums = torch.bincount(given_labels, minlength=5) * weights
    assert sums[sums > 0].tolist() == pytest.approx(
        [len(labels) / len(set(labels))] * len(set(labels))
    )
    assert ((weights > 0) == (torch.bincount(given_labels, minlength=5) > 0)).all()


def test_the_number_of_classes_is_the_models_or_its_last_linear_layers() -> None:
    assert classes_of(nn.Sequential(nn.Linear(2, 5), nn.Linear(5, 4))) == 4
    named = nn.Linear(2, 5)
    setattr(named, "classes", 3)  # noqa: B010
    assert classes_of(named) == 3
    with pytest.raises(ValueError, match="attribute classes"):
        classes_of(nn.Conv2d(1, 1, 1))


@settings(deadline=None, max_examples=30)
@given(st.lists(st.integers(0, 255), min_size=1, max_size=20))
def test_inputs_are_the_documented_formula(values) -> None:
    pixels = torch.tensor(values, dtype=torch.uint8).reshape(1, 1, 1, -1)
    expected = (np.array(values) / 255 - 0.5) / 0.25
    found = to_input(pixels)
    assert found.dtype == torch.float32
    assert np.allclose(found.flatten().numpy(), expected, atol=1e-6)
    assert to_input(pixels, torch.channels_last).is_contiguous(memory_format=torch.channels_last)
