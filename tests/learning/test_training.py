"""Local training: the same bytes from a seed, batches that BatchNorm can live with, and the ways to
end early.
"""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch

from learning import device, models
from learning.models.classifier import Classifier
from learning.training import Augment, Trainer, TrainSettings, batch_bounds, class_weights, to_input

CPU = torch.device("cpu")
SETTINGS = TrainSettings(epochs=2, batch_size=8, lr=1e-2, optimizer="sgd", momentum=0.9)


def fresh(name: str = "cnn3", image_size: int = 28) -> Classifier:
    torch.manual_seed(3)
    return models.build(name, channels=1, image_size=image_size, classes=3)


def data(examples: int, image_size: int = 28) -> tuple[torch.Tensor, torch.Tensor]:
    """Classes that differ in the height of a bright band."""
    labels = torch.arange(examples) % 3
    noise = torch.randint(
        0, 60, (examples, 1, image_size, image_size), generator=torch.Generator().manual_seed(1)
    )
    for i, label in enumerate(labels.tolist()):
        noise[i, :, 8 * label : 8 * label + 8] += 150
    return noise.to(torch.uint8), labels


def trained(
    settings: TrainSettings = SETTINGS, name: str = "cnn3", drawn_before: int = 0, **how
) -> dict:
    model = fresh(name)
    torch.rand(drawn_before)
    images, labels = data(30)
    Trainer(model, settings, CPU).train(images, labels, **({"seed": 5} | how))
    return {key: value.clone() for key, value in model.state_dict().items()}


def same(left: dict, right: dict) -> bool:
    return all(torch.equal(left[key], right[key]) for key in left)


@pytest.mark.parametrize("name", ["cnn3", "vgg11", "mobilenetv2"])
@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
@pytest.mark.slow
def test_the_same_seed_gives_the_same_bytes(name: str, optimizer: str) -> None:
    settings = replace(SETTINGS, optimizer=optimizer, epochs=1)
    first = trained(settings, name)
    assert same(first, trained(settings, name, drawn_before=5)), (
        "dropout must not depend on what was drawn before"
    )
    assert not same(first, trained(settings, name, seed=6))


def test_training_leaves_the_global_random_state_alone() -> None:
    model, (images, labels) = fresh("vgg11"), data(6)
    before = torch.random.get_rng_state()
    Trainer(model, SETTINGS, CPU).train(images, labels, seed=1)
    assert torch.equal(torch.random.get_rng_state(), before)


def test_training_learns() -> None:
    model, (images, labels) = fresh(), data(60)
    stats = Trainer(model, replace(SETTINGS, epochs=5), CPU).train(images, labels, seed=0)
    with torch.no_grad():
        assert (model(to_input(images)).argmax(1) == labels).float().mean() > 0.95
    assert (stats.examples, stats.steps, stats.stopped) == (60, 40, False)
    assert 0 < stats.loss < 1.2 and not model.training


def test_rows_train_as_their_own_copy_would() -> None:
    images, labels = data(30)
    rows = torch.tensor([4, 9, 2, 25, 11, 17, 3, 0, 28])
    left, right = fresh(), fresh()
    Trainer(left, SETTINGS, CPU).train(images, labels, seed=2, rows=rows)
    Trainer(right, SETTINGS, CPU).train(images[rows], labels[rows], seed=2)
    assert same(left.state_dict(), right.state_dict())


def test_stop_is_asked_between_batches() -> None:
    model, (images, labels) = fresh(), data(32)
    told: list[tuple[int, int]] = []
    stats = Trainer(model, SETTINGS, CPU).train(
        images,
        labels,
        seed=0,
        progress=lambda *step: told.append(step),
        stop=lambda: len(told) == 3,
    )
    assert told == [(1, 8), (2, 8), (3, 8)]
    assert (stats.steps, stats.stopped) == (3, True)


def test_stopped_before_the_first_batch_changes_nothing() -> None:
    model, (images, labels) = fresh(), data(16)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    stats = Trainer(model, SETTINGS, CPU).train(images, labels, seed=0, stop=lambda: True)
    assert stats.stopped and stats.steps == 0 and math.isnan(stats.loss)
    assert same(before, model.state_dict())


@pytest.mark.parametrize(
    ("examples", "size", "bounds"),
    [
        (5, 2, [(0, 2), (2, 5)]),
        (6, 2, [(0, 2), (2, 4), (4, 6)]),
        (1, 2, [(0, 1)]),
        (3, 1, [(0, 1), (1, 2), (2, 3)]),
        (3, 8, [(0, 3)]),
    ],
)
def test_no_single_example_is_left_over(examples: int, size: int, bounds: list) -> None:
    assert batch_bounds(examples, size) == bounds


@pytest.mark.parametrize(("examples", "batch_size"), [(1, 8), (9, 8), (3, 1)])
def test_one_image_in_a_batch_trains_where_maps_are_one_pixel(
    examples: int, batch_size: int
) -> None:
    """resnet18 at 28 pixels ends in 1x1 maps, where BatchNorm refuses a batch of one."""
    model, (images, labels) = fresh("resnet18"), data(examples)
    before = model.head.weight.clone()
    stats = Trainer(model, replace(SETTINGS, epochs=1, batch_size=batch_size), CPU).train(
        images, labels, seed=0
    )
    assert math.isfinite(stats.loss) and not torch.equal(before, model.head.weight)


def test_frozen_batchnorm_keeps_its_statistics() -> None:
    start, end = (
        fresh("resnet18").state_dict(),
        trained(replace(SETTINGS, epochs=1, freeze_batchnorm=True), "resnet18"),
    )
    statistics = [key for key in start if "running" in key or "num_batches" in key]
    assert len(statistics) == 60 and all(torch.equal(start[key], end[key]) for key in statistics)
    assert not torch.equal(start["body.conv1.weight"], end["body.conv1.weight"])


def test_an_empty_training_set_is_refused() -> None:
    images, labels = data(0)
    with pytest.raises(ValueError, match="empty"):
        Trainer(fresh(), SETTINGS, CPU).train(images, labels, seed=0)


def test_a_single_class_trains() -> None:
    model, (images, _) = fresh(), data(9)
    settings = replace(SETTINGS, class_weights=True)
    stats = Trainer(model, settings, CPU).train(images, torch.full((9,), 2), seed=0)
    assert math.isfinite(stats.loss)


def test_class_weights_balance_the_classes_that_are_there() -> None:
    weights = class_weights(torch.tensor([0, 0, 0, 2]), 3)
    assert weights.tolist() == pytest.approx([2 / 3, 0, 2])


def test_fedprox_pulls_to_the_start_and_only_what_it_names() -> None:
    start = fresh().state_dict()

    def moved(end: dict, key: str) -> float:
        return (end[key] - start[key]).norm().item()

    # lr * mu = 1/2: of eight steps about two are left
    settings = replace(SETTINGS, momentum=0.0)
    free, held = trained(settings), trained(replace(settings, proximal_mu=50.0))
    assert moved(held, "body.0.weight") < 0.5 * moved(free, "body.0.weight")
    model, (images, labels) = fresh(), data(30)
    trainer = Trainer(model, replace(settings, proximal_mu=50.0), CPU, proximal=["body.0.weight"])
    trainer.train(images, labels, seed=5)
    assert moved(model.state_dict(), "body.0.weight") < 0.5 * moved(free, "body.0.weight")
    assert moved(model.state_dict(), "head.weight") > 0.7 * moved(free, "head.weight")


def test_inputs_are_fixed_and_public() -> None:
    pixels = torch.tensor([0, 255], dtype=torch.uint8).reshape(1, 1, 1, 2)
    assert to_input(pixels).flatten().tolist() == [-2.0, 2.0]
    assert pixels.flatten().tolist() == [0, 255]


def test_bfloat16_and_channels_last_train_on_the_cpu_when_asked_for() -> None:
    free = trained(replace(SETTINGS, epochs=1))
    mixed = trained(replace(SETTINGS, epochs=1, mixed_precision="on", channels_last="on"))
    assert torch.allclose(free["head.weight"], mixed["head.weight"], atol=0.05)
    assert mixed["head.weight"].dtype == torch.float32


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"optimizer": "lion"}, "lion"),
        ({"epochs": 0}, "epochs"),
        ({"batch_size": 0}, "batch_size"),
        ({"lr": 0.0}, "lr"),
        ({"lr": math.nan}, "lr"),
        ({"weight_decay": -1.0}, "weight_decay"),
        ({"proximal_mu": -1.0}, "proximal_mu"),
        ({"mixed_precision": "maybe"}, "mixed_precision"),
    ],
)
def test_settings_without_sense_are_refused(wrong: dict, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        TrainSettings(**wrong)


@pytest.mark.parametrize("name", ["tpu", "cuda:x", "cuda:99", "cpu:0:1"])
def test_a_device_that_is_not_there_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="device"):
        device.choose(name)


def test_the_cpu_is_always_there() -> None:
    assert device.choose("cpu") == CPU
    assert device.choose("auto").type in ("cpu", "cuda", "mps")
    assert device.precision(CPU) is None and device.memory_format(CPU) == torch.contiguous_format
    with pytest.raises(ValueError, match="threads"):
        device.prepare(0)


def test_augmentation_changes_batches_and_follows_the_seed() -> None:
    seen: list[torch.Tensor] = []

    def flipped_at_times(batch: torch.Tensor, coins: torch.Generator) -> torch.Tensor:
        seen.append(batch)
        turned = torch.rand(len(batch), generator=coins) < 0.5
        return torch.where(turned[:, None, None, None], batch.flip(3), batch)

    def run(augment: Augment | None, seed: int = 5) -> dict:
        model = fresh()
        images, labels = data(30)
        Trainer(model, SETTINGS, CPU, augment=augment).train(images, labels, seed=seed)
        return dict(model.state_dict())

    first = run(flipped_at_times)
    assert seen[0].dtype == torch.uint8 and seen[0].shape == (8, 1, 28, 28)
    assert same(first, run(flipped_at_times)) and not same(first, run(flipped_at_times, seed=6))
    assert not same(first, trained()) and same(run(lambda batch, _: batch), trained()), (
        "the order of the images is the same with and without augmentation"
    )
