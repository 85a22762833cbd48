"""What the gates are measured on: how much is run, rounds of one image a hospital, their scores."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from attacks import scores
from attacks.methods import Settings
from attacks.observation import Case, SideKnowledge
from attacks.pictures import Pictures, take
from attacks.trials import Trial, play
from simulation.run.options import Options

ONE_STEP = Options.of(
    image_size=32,
    rounds=1,
    batch_size=1,
    lr=0.1,
    optimizer="sgd",
    algorithm="flop",
    protection="plain",
    bits=0,
)
KNOWN = SideKnowledge(batch_size=1)
KNOWN_STEP = replace(KNOWN, learning_rate=ONE_STEP.agreed.training.lr, local_steps=1)


@dataclass(frozen=True)
class Scale:
    """How much is run. The defaults are the published gates; tests take less.

    `root` holds the image sets; `xrays` and `colour` are their names. `progress(step, steps)` is
    called after every step of a search.
    """

    root: Path | None = None
    images: int = 20
    xrays: str = "covidx-small"
    colour: str = "cifar10"
    device: str = "cpu"
    ig_steps: int = 4800
    restarts: int | None = None
    steps: int | None = None
    progress: Callable[[int, int], None] | None = None

    def settings(self, steps: int | None = None, restarts: int | None = None) -> Settings:
        """Return settings for an attack; None leaves the attack's own."""
        return Settings(steps=steps, restarts=restarts, device=self.device, progress=self.progress)

    def pictures(self, spec: str, count: int | None = None) -> Pictures:
        """Take `count` images of 32 pixels a side."""
        return take(spec, count or self.images, image_size=32, root=self.root)


def trials(pictures: Pictures, options: Options, per_round: int) -> list[Trial]:
    """Play rounds of `per_round` hospitals until every picture was trained on.

    Every hospital has one image; every round has a start of its own seed.
    """
    found: list[Trial] = []
    for at in range(0, len(pictures.images), per_round):
        part = slice(at, at + per_round)
        count = len(pictures.images[part])
        wanted = options.but(hospitals=count, seed=options.seed + at, min_cohort=min(3, count))
        found += play(pictures.images[part], pictures.labels[part], pictures.classes, wanted)
    return found


def psnrs(images: np.ndarray, found: Sequence[Trial]) -> np.ndarray:
    """(all images,) PSNR in dB of reconstructions (trials, B, C, H, W)."""
    pairs = zip(images, found, strict=True)
    return np.array([s.psnr for a, t in pairs for s in scores.score(a, t.truth.images)])


def controls(found: Sequence[Trial], mean: np.ndarray) -> np.ndarray:
    """(all images,) PSNR in dB of each image's better constant guess."""
    guesses = [scores.constant_controls(t.truth.images, mean) for t in found]
    return np.concatenate([np.max(list(each.values()), axis=0) for each in guesses])


def readable(trial: Trial) -> Case:
    """The case of one image. A ciphertext is read as numbers: nothing else can be tried without the
    key.
    """
    seen = trial.observation
    return Case(seen.read_as_numbers() if seen.update is None else seen, KNOWN)


def after_collusion(pictures: Pictures, options: Options, found: Sequence[Trial]) -> list[Trial]:
    """Return what is left of sums of two when the second hospital hands over its own update.

    What it sent follows from what it trained on: the rounds are played again without a protection.
    """
    alone = trials(pictures, options, 2)
    left = []
    for at, trial in enumerate(found):
        images, labels = trial.truth.images, trial.truth.labels
        own = next(
            t for t in alone[2 * at : 2 * at + 2] if np.array_equal(t.truth.images[0], images[1])
        )
        seen = trial.observation.without(own.observation.readable)
        left.append(Trial(seen, replace(trial.truth, images=images[:1], labels=labels[:1])))
    return left
