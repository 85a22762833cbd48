"""What an attack is. It answers every question about itself, so no other file asks for its name."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, fields
from typing import Generic, NamedTuple, TypedDict, TypeVar

import numpy as np
import torch
from torch import nn

from attacks.methods._answers import Answer
from attacks.observation import Case, require

Progress = Callable[[int, int], None]
AnyAnswer = TypeVar("AnyAnswer", bound=Answer, covariant=True)


@dataclass(frozen=True)
class Settled:
    """How hard an attack tries. An attack declares its own values, the published ones if there are.

    `restarts` are chosen among by the objective alone. `lr` is in pixels of [0, 1], `tv` weighs
    total variation, and a copy whose objective falls below `tolerance` has finished.
    `progress(step, steps)` is called after every step.
    """

    steps: int = 1
    restarts: int = 1
    lr: float = 0.05
    tv: float = 0.0
    tolerance: float = 1e-9
    dtype: torch.dtype = torch.float32
    device: str = "cpu"
    seed: int = 0
    progress: Progress | None = None

    def generator(self) -> torch.Generator:
        """The attack's own randomness, drawn on the CPU: every device has the same starts."""
        return torch.Generator().manual_seed(self.seed)


@dataclass(frozen=True)
class Settings:
    """What the caller asks for. None leaves the attack's own value, see `Settled`."""

    steps: int | None = None
    restarts: int | None = None
    lr: float | None = None
    tv: float | None = None
    tolerance: float | None = None
    dtype: torch.dtype | None = None
    device: str = "cpu"
    seed: int = 0
    progress: Progress | None = None

    def settle(self, defaults: Settled) -> Settled:
        """Return `defaults` with everything replaced that the caller asked for."""
        return Settled(
            steps=defaults.steps if self.steps is None else self.steps,
            restarts=defaults.restarts if self.restarts is None else self.restarts,
            lr=defaults.lr if self.lr is None else self.lr,
            tv=defaults.tv if self.tv is None else self.tv,
            tolerance=defaults.tolerance if self.tolerance is None else self.tolerance,
            dtype=self.dtype or defaults.dtype,
            device=self.device,
            seed=self.seed,
            progress=self.progress,
        )


class Change(TypedDict, total=False):
    """How a cell of the matrix differs from the base cell; the keys are fields of `cells.Cell`."""

    algorithm: str
    protection: str
    bits: int | None
    adversary: str
    cut: int
    state: int
    batch: int
    local_steps: int
    optimizer: str
    cohort: int
    frozen: bool
    images: int
    restarts: int


EVERY_LAYER: Change = {"algorithm": "fedavg", "cut": 0}
"""For attacks that read the head's gradient: every layer is shared."""

AS_HOSPITALS_DO: Change = {"optimizer": "adam", "batch": 8, "local_steps": 3}
"""Many images, several passes, Adam: nearer to real training than the base cell."""


class Load(NamedTuple):
    """What one step of a search has to carry: the model's parameters, whether its activations are
    smooth (no ReLU), and the images of one batch.
    """

    parameters: int
    smooth: bool
    batch: int


def one(load: Load) -> int:
    """The effort of most attacks."""
    return 1


@dataclass(frozen=True)
class Finding:
    """A sentence at the top of the report, filled from the attack's best row.

    `sentence` is a format string over the row's columns, `success` (percent), `refused` and
    `tried` (the attack's cells in which hospitals were lied to). Only rows with the values of
    `where` count, and only a success rate of at least `least`.
    """

    sentence: str
    where: Change = field(default_factory=Change)
    least: float = 0.0


@dataclass(frozen=True)
class Attack(Generic[AnyAnswer]):
    """A registered attack.

    Attributes:
        name: The file's name; what `--attack` takes.
        title: A few words for the tables of the report.
        paper: The source, as author and year.
        needs: What must have been seen or be known: words of `observation.NEEDS`.
        answers: The kind of answer, one of the types of `methods/_answers.py`.
        method: Takes cases and settings, returns one answer for all cases.
        defaults: The attack's own settings.
        cells: The rows of the default matrix, as changes to its base cell.
        cells_per_model: Further rows for each model without BatchNorm that is measured as well.
        cells_per_batchnorm_model: The same for each model with BatchNorm.
        product: The algorithms with which it joins the product of the axes (`--full`).
        effort: The quick benchmark multiplies its steps by this, because a step is cheap.
        plant: What a lying coordinator puts in front of the model, from channels, image size and
            samples of the images' mean brightness; None if the attack plants nothing.
        finding: What the report says about the attack in its first lines, if anything.
    """

    name: str
    title: str
    paper: str
    needs: frozenset[str]
    answers: type[AnyAnswer]
    method: Callable[[Sequence[Case], Settled], AnyAnswer]
    defaults: Settled = Settled()
    cells: tuple[Change, ...] = (Change(),)
    cells_per_model: tuple[Change, ...] = ()
    cells_per_batchnorm_model: tuple[Change, ...] = ()
    product: tuple[str, ...] = ()
    effort: Callable[[Load], int] = one
    plant: Callable[[int, int, np.ndarray], nn.Module] | None = None
    finding: Finding | None = None

    def run(self, cases: Sequence[Case], settings: Settings | None = None) -> AnyAnswer:
        """Attack all cases as one batch and return one answer with an entry per case.

        The cases share architecture, split and number of images; parameters, updates and knowledge
        may differ.

        Raises:
            MissingKnowledge: If a case lacks something that the attack needs.
            ValueError: If there is no case, or if the cases are not alike.
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
        return self.method(cases, (settings or Settings()).settle(self.defaults))


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
