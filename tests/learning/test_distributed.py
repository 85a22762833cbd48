"""Two processes train as one does. The CPU takes the place of the GPUs: DDP exchanges the same."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from learning import device, models
from learning.distributed import DistributedTrainer, trainer
from learning.models.classifier import Classifier
from learning.training import Trainer, TrainSettings

CPU = torch.device("cpu")
SETTINGS = TrainSettings(
    epochs=2, batch_size=8, lr=1e-2, optimizer="sgd", class_weights=True, channels_last="off"
)


def model_and_data(examples: int = 21) -> tuple[Classifier, torch.Tensor, torch.Tensor]:
    torch.manual_seed(3)
    model = models.build("cnn3", channels=1, image_size=28, classes=3)
    images = torch.randint(0, 256, (examples, 1, 28, 28), dtype=torch.uint8)
    return model, images, torch.arange(examples).clamp(max=10) % 3


def test_two_processes_train_as_one_does() -> None:
    one, images, labels = model_and_data()
    two, _, _ = model_and_data()
    rows = torch.arange(1, 21)
    told: list[tuple[int, int]] = []
    alone = Trainer(one, SETTINGS, CPU).train(images, labels, seed=4, rows=rows)
    together = trainer(two, SETTINGS, device.choose_several("cpu:2")).train(
        images, labels, seed=4, rows=rows, progress=lambda *step: told.append(step)
    )
    assert (alone.steps, alone.examples) == (together.steps, together.examples) == (6, 20)
    assert together.loss == pytest.approx(alone.loss, rel=1e-4)
    assert told[-1] == (6, 6)
    start, _, _ = model_and_data()
    for name, value in one.state_dict().items():
        assert torch.allclose(value, two.state_dict()[name], atol=1e-5)
        assert not torch.equal(value, start.state_dict()[name])


@pytest.mark.slow
def test_both_processes_stop_at_the_same_batch() -> None:
    model, images, labels = model_and_data()
    stats = DistributedTrainer(model, replace(SETTINGS, epochs=10_000), [CPU, CPU]).train(
        images, labels, seed=0, stop=lambda: True
    )
    assert stats.stopped and stats.steps < 30_000


def test_too_few_examples_train_on_one_device() -> None:
    model, images, labels = model_and_data(3)
    before = model.head.weight.clone()
    stats = DistributedTrainer(model, SETTINGS, [CPU, CPU]).train(images, labels, seed=0)
    assert stats.steps == 2 and not torch.equal(model.head.weight, before)


def test_devices_that_cannot_work_together_are_refused() -> None:
    model, _, _ = model_and_data()
    with pytest.raises(ValueError, match="one device or cuda:all"):
        DistributedTrainer(model, SETTINGS, [CPU, torch.device("cuda", 0)])
    with pytest.raises(ValueError, match="4 or more"):
        DistributedTrainer(model, replace(SETTINGS, batch_size=3), [CPU, CPU])
    assert isinstance(trainer(model, SETTINGS, [CPU]), Trainer)
