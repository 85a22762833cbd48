"""What an attack is: a name, the words it needs, and one function from cases to a reconstruction."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace

import numpy as np
import torch

from attacks.observation import Case, require

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Settings:
    """How hard an attack tries. None means the attack's own default, which is the published setting
    where there is one.

    `restarts` are chosen among by the objective alone. `tv` weighs total variation, `tolerance` is
    the objective below which a copy has finished. `progress(step, steps)` is told after every step.
    """

    steps: int | None = None
    restarts: int | None = None
    lr: float | None = None
    tv: float | None = None
    tolerance: float | None = None
    dtype: torch.dtype | None = None
    device: str = "cpu"
    seed: int = 0
    progress: Progress | None = None

    def over(self, **defaults: object) -> Settings:
        """These settings with the attack's `defaults` wherever nothing was asked for."""
        return replace(self, **{k: v for k, v in defaults.items() if getattr(self, k) is None})

    def generator(self) -> torch.Generator:
        """The attack's own randomness: drawn on the CPU, so that the device makes no difference to
        the starts.
        """
        return torch.Generator().manual_seed(self.seed)


@dataclass(frozen=True)
class Reconstruction:
    """What an attack found, one entry a case.

    `images` (cases, B, C, H, W) in [0, 1]; `labels` (cases, B) or None where the attack cannot know
    them; `objective` (cases,), by which restarts were chosen; `features` (cases, B, d) where a
    layer's input was found instead of an image; `answers` (cases, ...) for attacks that infer
    something else than images.
    """

    images: np.ndarray | None = None
    labels: np.ndarray | None = None
    objective: np.ndarray | None = None
    features: np.ndarray | None = None
    answers: np.ndarray | None = None
    steps: int = 0
    seconds: float = 0.0


@dataclass(frozen=True)
class Attack:
    """A registered attack. `paper` is its source; `finds` is what it infers: images, membership or
    labels.
    """

    name: str
    paper: str
    needs: frozenset[str]
    method: Callable[[Sequence[Case], Settings], Reconstruction]
    finds: str = "images"

    def run(self, cases: Sequence[Case], settings: Settings = Settings()) -> Reconstruction:
        """Attacks all cases as one batch. Raises MissingKnowledge where one of them lacks what the
        attack needs.

        The cases share architecture, split and number of images; parameters, updates and knowledge
        may differ.
        """
        if not cases:
            raise ValueError(f"attack {self.name}: there is no case to attack")
        for case in cases:
            require(self.name, self.needs, case)
        first = _shape(cases[0])
        if any(_shape(case) != first for case in cases):
            raise ValueError(
                f"attack {self.name}: cases of one batch must agree in model, split and number of"
                " images"
            )
        return self.method(cases, settings)


def _shape(case: Case) -> tuple[object, ...]:
    seen = case.observation
    known = tuple(getattr(case.knowledge, f.name) is None for f in fields(case.knowledge))
    return (
        seen.model,
        seen.channels,
        seen.image_size,
        seen.private,
        tuple(seen.shared_before),
        case.images,
        known,
    )
