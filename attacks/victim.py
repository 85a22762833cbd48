"""The hospital's side of a trial without the wire: the product's trainer, and what follows from it.

This is the bench's shortcut where the sessions cannot go or add nothing. A recorded run gives the
same observation. The truth stays with the caller, who hands it to the scorer.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import reduce

import numpy as np
import torch
from msgspec import structs

from attacks.observation import Arrays, Observation
from attacks.trials import Trial, Truth
from learning import models, parameters, private_layers
from learning.private_layers import Split
from learning.randomness import seeded
from learning.training import Trainer, TrainSettings
from simulation.run.options import Options


def fresh_state(
    model: str, *, channels: int, image_size: int, classes: int, seed: int
) -> dict[str, np.ndarray]:
    """Return a start for one hospital: every floating-point state_dict entry by name."""
    with seeded(seed):
        net = models.build(model, channels=channels, image_size=image_size, classes=classes)
    return parameters.to_numpy(
        net, [name for name, value in net.state_dict().items() if value.is_floating_point()]
    )


def train(
    model: str,
    state: Arrays,
    images: np.ndarray,
    labels: np.ndarray,
    settings: TrainSettings,
    *,
    classes: int,
    seed: int = 0,
    device: str = "cpu",
) -> dict[str, np.ndarray]:
    """Return the state after local training on uint8 images (B, C, H, W); no hospital sends it."""
    _, channels, size, _ = images.shape
    with seeded(seed):
        net = models.build(model, channels=channels, image_size=size, classes=classes)
    parameters.load(net, state)
    trainer = Trainer(net, settings, torch.device(device))
    trainer.train(torch.from_numpy(images), torch.from_numpy(labels), seed=seed)
    return parameters.to_numpy(net, list(state))


def observe(
    model: str,
    before: Arrays,
    after: Sequence[Arrays],
    split: Split,
    *,
    channels: int,
    image_size: int,
    algorithm: str = "fedavg",
    cohort: int = 1,
) -> Observation:
    """Return what a coordinator sees of hospitals that went from `before` to the states `after`.

    One state is a plain update, several are a sum. Only shared names are looked at.
    """
    trainable = set(parameter_names(model, channels=channels, image_size=image_size))
    weights = [name for name in split.shared if name in trainable]
    buffers = [name for name in split.shared if name not in trainable]
    moved = {name: [state[name] - before[name] for state in after] for name in weights}
    return Observation(
        model=model,
        channels=channels,
        image_size=image_size,
        shared_before={name: before[name] for name in weights},
        update={name: reduce(np.add, each) for name, each in moved.items()},
        private=frozenset(name for name in split.private if name in trainable),
        buffers_before={name: before[name] for name in buffers},
        buffers_after={
            name: reduce(np.add, [state[name] for state in after]) / len(after) for name in buffers
        },
        algorithm=algorithm,
        cohort=cohort,
        summed=len(after),
    )


def parameter_names(model: str, *, channels: int, image_size: int) -> list[str]:
    """Return the names of a model's trainable parameters, in its order."""
    with seeded(0):
        net = models.build(model, channels=channels, image_size=image_size, classes=2)
    return [name for name, _ in net.named_parameters()]


def play_frozen(
    images: np.ndarray, labels: np.ndarray, classes: Sequence[str], options: Options
) -> list[Trial]:
    """Return round 1 of hospitals that train BatchNorm with its running statistics.

    No federation.toml asks for that, so it cannot go through the sessions: this is the product's
    trainer, and what the coordinator would read of float32 without a protection.
    """
    _, channels, size, _ = images.shape
    net = models.build(options.model, channels=channels, image_size=size, classes=len(classes))
    parts = private_layers.choose(
        net,
        None,
        options.private_last,
        algorithm="flop" if options.algorithm == "flop" else "fedavg",
        default=models.spec(options.model).private,
    )
    start = fresh_state(
        options.model, channels=channels, image_size=size, classes=len(classes), seed=options.seed
    )
    training = options.agreed.training
    settings = TrainSettings(
        **structs.asdict(training),
        freeze_batchnorm=True,
    )
    head: Mapping[str, np.ndarray] = {name: start[name] for name in parts.private}
    trials = []
    for at in range(0, len(images), training.batch_size):
        mine, answers = (x[at : at + training.batch_size] for x in (images, labels))
        after = train(options.model, start, mine, answers, settings, classes=len(classes))
        seen = observe(
            options.model,
            start,
            [after],
            parts,
            channels=channels,
            image_size=size,
            algorithm=options.algorithm,
        )
        trials.append(Trial(seen, Truth(mine / 255.0, answers, (head,))))
    return trials
