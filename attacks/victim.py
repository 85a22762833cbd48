"""The hospital's side of a trial: local training with the product's own trainer, and the
observation that follows from it.

This is the bench's shortcut past the wire for cells where the wire adds nothing (float32 under
plain); a recorded run gives the same observation through the sessions. The truth stays with the
caller, who hands it to the scorer.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch

from attacks.observation import Observation
from learning import models, parameters
from learning.private_layers import Split
from learning.randomness import seeded
from learning.training import Trainer, TrainSettings


def fresh_state(
    model: str, *, channels: int, image_size: int, classes: int, seed: int
) -> dict[str, np.ndarray]:
    """A start for one hospital: every floating-point state_dict entry by name."""
    with seeded(seed):
        net = models.build(model, channels=channels, image_size=image_size, classes=classes)
    return parameters.to_numpy(
        net, [name for name, value in net.state_dict().items() if value.is_floating_point()]
    )


def train(
    model: str,
    state: Mapping[str, np.ndarray],
    images: np.ndarray,
    labels: np.ndarray,
    settings: TrainSettings,
    *,
    classes: int,
    seed: int = 0,
    device: str = "cpu",
) -> dict[str, np.ndarray]:
    """The state after local training on uint8 images (B, C, H, W): what the hospital has and never
    sends as it is.
    """
    _, channels, size, _ = images.shape
    with seeded(seed):
        net = models.build(model, channels=channels, image_size=size, classes=classes)
    parameters.load(net, state)
    trainer = Trainer(net, settings, torch.device(device))
    trainer.train(torch.from_numpy(images), torch.from_numpy(labels), seed=seed)
    return parameters.to_numpy(net, state)


def observe(
    model: str,
    before: Mapping[str, np.ndarray],
    after: Sequence[Mapping[str, np.ndarray]],
    split: Split,
    **context: object,
) -> Observation:
    """What a coordinator sees of hospitals that went from `before` to `after`: the sum of their
    shared updates.

    One state in `after` is a plain update, several are a masked sum. Only shared names are looked
    at; `context` are further fields of Observation (channels, image_size, algorithm, protection,
    adversary, cohort).
    """
    trainable = set(parameter_names(model, **{k: context[k] for k in ("channels", "image_size")}))
    weights = [name for name in split.shared if name in trainable]
    buffers = [name for name in split.shared if name not in trainable]
    return Observation(
        model=model,
        shared_before={name: before[name] for name in weights},
        update={name: sum(state[name] - before[name] for state in after) for name in weights},
        private=frozenset(name for name in split.private if name in trainable),
        buffers_before={name: before[name] for name in buffers},
        buffers_after={name: sum(state[name] for state in after) / len(after) for name in buffers},
        summed=len(after),
        **context,
    )


def parameter_names(model: str, *, channels: int, image_size: int) -> list[str]:
    """The names of a model's trainable parameters, in its order."""
    with seeded(0):
        net = models.build(model, channels=channels, image_size=image_size, classes=2)
    return [name for name, _ in net.named_parameters()]
