"""Trials: chosen images, one small federation in memory that trains on them, and what its
coordinator recorded.

The round runs through the product's own sessions, codec and protections (`simulation/run`); the
attack gets the recording, the scorer gets the images. A hospital holds exactly `batch` images and
keeps none back for testing.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from attacks import victim
from attacks.observation import Observation
from attacks.recorded import load
from learning import models, private_layers
from learning.data import arrays
from learning.training import TrainSettings
from simulation.run.federate import Federation
from simulation.run.options import Options, Prepared, make_config


@dataclass(frozen=True)
class Truth:
    """What only the scorer may see: images (B, C, H, W) in [0, 1] and labels of the hospitals
    behind an observation, their private layers at the start of the round by name (one mapping a
    hospital).
    """

    images: np.ndarray
    labels: np.ndarray
    heads: tuple[Mapping[str, np.ndarray], ...]


@dataclass(frozen=True)
class Trial:
    observation: Observation
    truth: Truth


def arrange(
    images: np.ndarray, labels: np.ndarray, classes: tuple[str, ...], options: Options, folder: Path
) -> Prepared:
    """A recorded federation in memory on these images alone, ready to be started in `folder`."""
    wanted = replace(
        options, out=folder, record=True, transport="memory", test_fraction=0.0, baselines=False
    )
    dataset = arrays(images, labels, classes)
    setup = folder / "setup"
    setup.mkdir()
    return Prepared(wanted, setup, make_config(wanted, dataset, setup), dataset)


def play(
    images: np.ndarray,
    labels: np.ndarray,
    classes: tuple[str, ...],
    options: Options,
    round_: int = 1,
) -> list[Trial]:
    """Runs `options` on these images, dealt evenly to `options.hospitals`, and returns what was
    recorded of a round.
    """
    with tempfile.TemporaryDirectory() as folder:
        prepared = arrange(images, labels, classes, options, Path(folder))
        federation = Federation(prepared)
        heads: dict[str, Mapping[str, np.ndarray]] = {}

        def remember(_: object) -> None:
            if federation.run.last_begun <= round_ and federation.run.applied < round_:
                heads.update(
                    {
                        prepared.ids[number]: dict(body.learner.private)
                        for number, body in federation.bodies.items()
                    }
                )

        federation.watch = remember
        federation.play()
        trials = []
        for hospitals, observation in load(Path(folder), round_):
            rows = np.concatenate(
                [
                    federation.divided.locals[prepared.ids.index(name)].train.numpy()
                    for name in hospitals
                ]
            )
            pool = federation.divided.locals[0]
            truth = Truth(
                pool.images[rows].numpy() / 255.0,
                pool.labels[rows].numpy(),
                tuple(heads.get(name, {}) for name in hospitals),
            )
            trials.append(Trial(observation, truth))
        return trials


def play_frozen(
    images: np.ndarray, labels: np.ndarray, classes: tuple[str, ...], options: Options
) -> list[Trial]:
    """Round 1 of hospitals that train BatchNorm with its running statistics. No federation.toml
    asks for that, so this is not played through the sessions: the product's trainer, and what
    float32 under `plain` would show of it.
    """
    _, channels, size, _ = images.shape
    shape = {"channels": channels, "image_size": size}
    start = victim.fresh_state(options.model, classes=len(classes), seed=options.seed, **shape)
    parts = private_layers.choose(
        models.build(options.model, classes=len(classes), **shape), None, options.private_last,
        algorithm=options.algorithm, default=models.spec(options.model).private,
    )  # fmt: skip
    settings = TrainSettings(
        options.local_epochs,
        options.batch_size,
        options.lr,
        options.optimizer,
        freeze_batchnorm=True,
    )
    trials = []
    for at in range(0, len(images), options.batch_size):
        rows = slice(at, at + options.batch_size)
        after = victim.train(
            options.model, start, images[rows], labels[rows], settings, classes=len(classes)
        )
        seen = victim.observe(
            options.model, start, [after], parts, algorithm=options.algorithm, **shape
        )
        trials.append(
            Trial(
                seen,
                Truth(
                    images[rows] / 255.0,
                    labels[rows],
                    ({name: start[name] for name in parts.private},),
                ),
            )
        )
    return trials
