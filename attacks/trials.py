"""Trials: chosen images, one small federation in memory that trains on them, and what its
coordinator recorded.

The round runs through the product's own sessions, codec and protections (`simulation/run`); the
attack gets the recording, the scorer gets the images. A hospital holds exactly `batch` images and
keeps none back for testing.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from attacks.observation import Observation
from attacks.recorded import load
from learning.data import arrays
from simulation.run.federate import Federation
from simulation.run.options import Options
from simulation.run.prepare import Prepared, prepare


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
    """Prepare a recorded federation in memory on these images alone, to be started in `folder`."""
    wanted = options.but(
        out=folder, record=True, transport="memory", test_fraction=0.0, baselines=False
    )
    return prepare(wanted, arrays(images, labels, classes))


def play(
    images: np.ndarray,
    labels: np.ndarray,
    classes: tuple[str, ...],
    options: Options,
    round_: int = 1,
) -> list[Trial]:
    """Run `options` on these images, dealt evenly to `options.hospitals`, and return what was
    recorded of a round, with the truth that only the scorer may see.
    """
    with tempfile.TemporaryDirectory() as folder:
        prepared = arrange(images, labels, classes, options, Path(folder))
        federation = Federation(prepared)
        heads: dict[str, Mapping[str, np.ndarray]] = {}

        def remember(_: object) -> None:
            if federation.run.last_begun <= round_ and federation.run.applied < round_:
                heads.update(
                    {
                        name: dict(learner.private)
                        for name, learner in zip(prepared.ids, federation.learners, strict=True)
                    }
                )

        federation.watch = remember
        federation.play()
        trials = []
        for hospitals, observation, _ in load(Path(folder), round_):
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
