"""The hospital's side without the wire: what is trained, and what a coordinator would see of it."""

import numpy as np
import pytest

from attacks import victim
from learning import models, private_layers
from learning.training import TrainSettings
from tests.attacks.victims import CLASSES, SIZE, pictures

MODEL = "lenet-dlg"
LABELS = np.array([0, 1])
STEP = TrainSettings(epochs=1, batch_size=1, lr=0.1, optimizer="sgd")


@pytest.fixture(scope="module")
def start() -> dict[str, np.ndarray]:
    return victim.fresh_state(MODEL, channels=1, image_size=SIZE, classes=CLASSES, seed=0)


@pytest.fixture(scope="module")
def trained(start: dict[str, np.ndarray]) -> list[dict[str, np.ndarray]]:
    images = pictures(2)
    return [
        victim.train(MODEL, start, images[[i]], LABELS[[i]], STEP, classes=CLASSES)
        for i in range(2)
    ]


def split() -> private_layers.Split:
    net = models.build(MODEL, channels=1, image_size=SIZE, classes=CLASSES)
    return private_layers.choose(net, algorithm="flop")


def test_a_start_follows_from_its_seed(start: dict[str, np.ndarray]) -> None:
    shape = {"channels": 1, "image_size": SIZE, "classes": CLASSES}
    again, other = (victim.fresh_state(MODEL, seed=seed, **shape) for seed in (0, 1))
    assert all(np.array_equal(again[name], value) for name, value in start.items())
    assert not np.array_equal(other["head.weight"], start["head.weight"])


def test_training_moves_every_layer_and_leaves_the_start_alone(
    start: dict[str, np.ndarray], trained: list[dict[str, np.ndarray]]
) -> None:
    kept = start["head.weight"].copy()
    assert all(np.abs(trained[0][name] - value).max() > 0 for name, value in start.items())
    np.testing.assert_array_equal(start["head.weight"], kept)


def test_an_update_is_local_minus_global_of_the_shared_layers_only(
    start: dict[str, np.ndarray], trained: list[dict[str, np.ndarray]]
) -> None:
    seen = victim.observe(MODEL, start, trained[:1], split(), channels=1, image_size=SIZE)
    assert seen.private == {"head.weight", "head.bias"} and not seen.private & set(seen.readable)
    for name, value in seen.readable.items():
        np.testing.assert_array_equal(value, trained[0][name] - start[name])


def test_several_hospitals_are_seen_as_the_sum_of_their_updates(
    start: dict[str, np.ndarray], trained: list[dict[str, np.ndarray]]
) -> None:
    shape = {"channels": 1, "image_size": SIZE}
    both = victim.observe(MODEL, start, trained, split(), cohort=2, **shape)
    each = [victim.observe(MODEL, start, [one], split(), **shape) for one in trained]
    assert (both.summed, both.cohort) == (2, 2)
    for name, value in both.readable.items():
        total = each[0].readable[name] + each[1].readable[name]
        np.testing.assert_allclose(value, total, rtol=1e-6)


def test_the_names_of_parameters_leave_out_the_running_statistics() -> None:
    names = victim.parameter_names("resnet18", channels=1, image_size=SIZE)
    assert names and not any("running" in name or "num_batches" in name for name in names)
