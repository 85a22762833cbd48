"""Small victims for the attack tests: smooth pictures and real updates from the product's own
trainer.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from attacks import victim
from attacks.observation import Case, SideKnowledge
from learning import models
from learning.private_layers import choose
from learning.training import TrainSettings

SIZE = 28
CLASSES = 3


def pictures(count: int, channels: int = 1, seed: int = 0) -> np.ndarray:
    """uint8 (count, channels, 28, 28): sums of a few broad waves, so that neighbouring pixels
    belong together.
    """
    coins = np.random.default_rng(seed)
    y, x = np.mgrid[0:SIZE, 0:SIZE] / SIZE
    waves = [
        np.sin(
            2
            * np.pi
            * (
                coins.uniform(0, 2, (count, channels, 1, 1)) * x
                + coins.uniform(0, 2, (count, channels, 1, 1)) * y
            )
            + coins.uniform(0, 6, (count, channels, 1, 1))
        )
        for _ in range(4)
    ]
    image = np.sum(waves, axis=0)
    low, high = image.min((2, 3), keepdims=True), image.max((2, 3), keepdims=True)
    return np.round(20 + 210 * (image - low) / (high - low)).astype(np.uint8)


def truth(images: np.ndarray) -> np.ndarray:
    return images.astype(np.float64) / 255


def cases(
    images: np.ndarray,
    labels: np.ndarray,
    *,
    model: str = "lenet-dlg",
    algorithm: str = "flop",
    batch: int = 1,
    summed: int = 1,
    epochs: int = 1,
    lr: float = 0.1,
    optimizer: str = "sgd",
    **known: object,
) -> list[Case]:
    """One case per `batch * summed` images, each from a start of its own; `known` goes into
    SideKnowledge.
    """
    channels = images.shape[1]
    shape = {"channels": channels, "image_size": SIZE}
    split = choose(models.build(model, classes=CLASSES, **shape), algorithm=algorithm)
    settings = TrainSettings(epochs=epochs, batch_size=batch, lr=lr, optimizer=optimizer)
    found = []
    for i in range(len(images) // (batch * summed)):
        start = victim.fresh_state(model, classes=CLASSES, seed=i, **shape)
        rows = np.arange(i * batch * summed, (i + 1) * batch * summed).reshape(summed, batch)
        after = [
            victim.train(model, start, images[r], labels[r], settings, classes=CLASSES)
            for r in rows
        ]
        seen = victim.observe(
            model, start, after, split, algorithm=algorithm, cohort=summed, **shape
        )
        found.append(Case(seen, SideKnowledge(batch_size=batch, **known)))
    return found


def with_update(case: Case, update: dict[str, np.ndarray]) -> Case:
    return case._replace(observation=replace(case.observation, update=update))
