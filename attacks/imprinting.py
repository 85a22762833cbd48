"""A hospital that runs whatever it is sent: the victim of the imprint block, which no session of
ours would start.

The product's hospital builds its model by the name in the config and checks start and aggregate, so
this trial has to leave it out: it trains a network with the block in front, in plain PyTorch. The
row shows what those checks are worth.
"""

from __future__ import annotations

import torch
from torch import nn

from attacks.methods.imprint import PREFIX, ImprintBlock
from attacks.observation import MALICIOUS, Observation
from attacks.pictures import Pictures
from attacks.trials import Trial, Truth
from learning import models
from learning.randomness import seeded
from learning.training import INPUT_MEAN, INPUT_STD

BINS = 128


def imprinted(
    pictures: Pictures, batch: int, seed: int = 0, model: str = "lenet-dlg"
) -> list[Trial]:
    """One gradient of a batch through block and model; the coordinator sees all but the model's
    head.
    """
    _, channels, size, _ = pictures.images.shape
    brightness = (
        pictures.others.reshape(len(pictures.others), -1).mean(1) / 255 - INPUT_MEAN
    ) / INPUT_STD
    with seeded(seed):
        block = ImprintBlock(channels, size, BINS, brightness)
        network = nn.Sequential(
            block,
            models.build(model, channels=channels, image_size=size, classes=len(pictures.classes)),
        )
    images, labels = pictures.images[:batch], pictures.labels[:batch]
    inputs = torch.from_numpy((images / 255.0 - INPUT_MEAN) / INPUT_STD).float()
    nn.functional.cross_entropy(network(inputs), torch.from_numpy(labels)).backward()
    update = {PREFIX + name: -value.grad.numpy() for name, value in block.named_parameters()}
    before = {PREFIX + name: value.detach().numpy() for name, value in block.named_parameters()}
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
