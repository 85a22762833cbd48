"""A malicious coordinator's imprint block (Robbing the Fed, Fowl et al. 2022).

In front of the model goes a linear layer that measures every image's mean brightness once per bin,
a ReLU with the bins' thresholds as biases, and a linear layer with equal columns. An image then
fires every bin below its brightness, always with the same upstream gradient; the difference of two
neighbouring bins' gradients holds only the images in between, and weight over bias is the image
where there is one. The head behind it does not matter, nor does adding up hospitals.

It needs a block that is not in the agreed architecture, and parameters that no honest aggregation
made. A hospital that builds its model by the name in the config, checks the start's digest and
every aggregate's tag never runs it.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from attacks.methods._answers import Reconstruction
from attacks.methods._attack import Attack, Change, Finding, Settled
from attacks.observation import (
    OTHER_AGGREGATE,
    OTHER_LAYERS,
    OTHER_START,
    UNCHECKED,
    Case,
    MissingKnowledge,
)
from learning.training import INPUT_MEAN, INPUT_STD

PREFIX = "imprint."
BINS = 128


class ImprintBlock(nn.Module):
    """(B, C, H, W) to the same shape. `brightness` (n,): samples of images' means, input units."""

    def __init__(self, channels: int, size: int, bins: int, brightness: np.ndarray) -> None:
        super().__init__()
        self.shape = (channels, size, size)
        pixels = channels * size**2
        self.measure = nn.Linear(pixels, bins)
        self.back = nn.Linear(bins, pixels)
        edges = np.quantile(brightness, np.linspace(0, 1, bins + 2)[1:-1])
        with torch.no_grad():
            self.measure.weight.fill_(1 / pixels)
            self.measure.bias.copy_(torch.from_numpy(-edges))
            # equal columns: every bin passes the same gradient; small, so that the images' own
            # stays in range
            self.back.weight.copy_(torch.randn(pixels, 1).expand(pixels, bins) / bins)
            self.back.bias.zero_()

    def forward(self, images: Tensor) -> Tensor:
        raised: Tensor = self.back(torch.relu(self.measure(images.flatten(1))))
        return raised.view(-1, *self.shape)


def reconstruct(cases: Sequence[Case], settings: Settled) -> Reconstruction:
    begun = time.perf_counter()
    found = [unpack(case) for case in cases]
    return Reconstruction(steps=1, seconds=time.perf_counter() - begun, images=np.stack(found))


def unpack(case: Case) -> np.ndarray:
    """(B, C, H, W): the B bins that moved most, each read as one image; grey where fewer moved."""
    seen = case.observation
    try:
        weight, bias = (
            seen.readable[f"{PREFIX}measure.{kind}"].astype(np.float64)
            for kind in ("weight", "bias")
        )
    except KeyError:
        raise MissingKnowledge(
            "attack imprint needs its own block in the model; the agreed architecture has none"
        ) from None
    # thresholds rise with the bin, so bin i holds what fires i but not i + 1; the last one holds
    # what fires it
    weight = weight - np.vstack([weight[1:], np.zeros_like(weight[:1])])
    bias = bias - np.append(bias[1:], 0.0)
    shape = (seen.channels, seen.image_size, seen.image_size)
    images = np.full((case.images, *shape), 0.5)
    strongest = np.argsort(-np.abs(bias))[: case.images]
    for place, row in enumerate(strongest):
        if bias[row]:
            images[place] = (weight[row] / bias[row]).reshape(shape) * INPUT_STD + INPUT_MEAN
    return images.clip(0, 1)


def plant(channels: int, size: int, brightness: np.ndarray) -> nn.Module:
    """The block with its default number of bins."""
    return ImprintBlock(channels, size, BINS, brightness)


_SUM: Change = {"protection": "masked", "cohort": 5}
ATTACK = Attack(
    "imprint",
    "imprint block (Robbing the Fed)",
    "Fowl et al. 2022, Robbing the Fed",
    frozenset({"update", "batch_size", "malicious"}),
    Reconstruction,
    reconstruct,
    cells=(
        {"adversary": UNCHECKED},
        {**_SUM, "adversary": OTHER_LAYERS},
        {**_SUM, "adversary": OTHER_START},
        {**_SUM, "adversary": OTHER_AGGREGATE},
        {"adversary": OTHER_AGGREGATE},
    ),
    plant=plant,
    finding=Finding(
        "A coordinator whose hospitals run whatever it sends reads {success:.0f} % of a batch"
        " ({psnr_median:.0f} dB); the product's hospitals refused {refused} of its {tried} ways in."
    ),
)
