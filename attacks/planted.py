"""A hospital that runs whatever it is sent, which no session of ours would do.

The product's hospital builds its model by the name in the config and checks start and aggregate.
This trial leaves the checks out: in plain PyTorch it trains a network with the attack's own layers
in front. The row shows what the checks are worth.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from attacks.methods import Attack
from attacks.observation import MALICIOUS, MissingKnowledge, Observation
from attacks.pictures import Pictures
from attacks.trials import Trial, Truth
from learning import models
from learning.randomness import seeded
from learning.training import INPUT_MEAN, INPUT_STD


def planted(
    attack: Attack[Any], pictures: Pictures, batch: int, seed: int = 0, model: str = "lenet-dlg"
) -> list[Trial]:
    """Return one gradient of a batch through the attack's layers and the model.

    The coordinator sees the layers that it planted; their names begin with the attack's name.
    Raises MissingKnowledge if the attack plants nothing.
    """
    if attack.plant is None:
        raise MissingKnowledge(f"attack {attack.name} plants no layers of its own in the model")
    _, channels, size, _ = pictures.images.shape
    brightness = (
        pictures.others.reshape(len(pictures.others), -1).mean(1) / 255 - INPUT_MEAN
    ) / INPUT_STD
    with seeded(seed):
        block = attack.plant(channels, size, brightness)
        network = nn.Sequential(
            block,
            models.build(model, channels=channels, image_size=size, classes=len(pictures.classes)),
        )
    images, labels = pictures.images[:batch], pictures.labels[:batch]
    inputs = torch.from_numpy((images / 255.0 - INPUT_MEAN) / INPUT_STD).float()
    loss = nn.functional.cross_entropy(network(inputs), torch.from_numpy(labels))
    names = [name for name, _ in block.named_parameters()]
    gradients = torch.autograd.grad(loss, list(block.parameters()))
    before = {f"{attack.name}.{n}": p.detach().numpy() for n, p in block.named_parameters()}
    update = {f"{attack.name}.{n}": -g.numpy() for n, g in zip(names, gradients, strict=True)}
    seen = Observation(
        model,
        channels,
        size,
        before,
        update,
        frozenset({"head.weight", "head.bias"}),
        adversary=MALICIOUS,
    )
    return [Trial(seen, Truth(images / 255.0, labels, ({},)))]
