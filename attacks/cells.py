"""The leakage matrix: what a cell is, and which cells there are.

The base cell is DLG's LeNet under FLOP: one image, one step, BatchNorm at rest, the start of
training, nothing hidden. The default matrix changes one axis at a time from there, and adds the
cells that each attack asks for; `full_matrix` is the product of all axes that can be combined.
"""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace

from attacks import protected
from attacks.observation import COLLUDING, CURIOUS
from learning import models

BITS = 12
"""Bits of an element in the cells that are not float32."""
LARGE = 1_000_000
"""Parameters from which a cell attacks fewer images, so that the default matrix takes minutes."""


@dataclass(frozen=True)
class Cell:
    """One row of the matrix.

    Attributes:
        attack: Its name.
        protection: Its name.
        bits: Of an element, 0 for float32; None is float32, or 12 bits under a protection.
        adversary: One of the words of `observation`.
        cut: How many last layers are private; 0 under fedavg.
        state: Rounds of training before the attacked one.
        batch: Images of one hospital, all in one batch.
        local_steps: Passes of the hospital over this batch.
        cohort: Hospitals in the sum if the coordinator reads only sums; otherwise not used.
        noise: DP's noise multiplier; None without DP.
        frozen: BatchNorm trains with its running statistics.
        images: Images that are attacked in all.
        steps, restarts: The budget of the search; None is the attack's own.
    """

    attack: str = "varpro"
    algorithm: str = "flop"
    protection: str = protected.UNPROTECTED
    bits: int | None = None
    adversary: str = CURIOUS
    model: str = "lenet-dlg"
    dataset: str = "phantom-cxr"
    cut: int = 1
    state: int = 0
    batch: int = 1
    local_steps: int = 1
    optimizer: str = "sgd"
    cohort: int = 1
    noise: float | None = None
    frozen: bool = False
    seed: int = 0
    images: int = 8
    image_size: int = 32
    steps: int | None = None
    restarts: int | None = None

    @property
    def key(self) -> str:
        """Names the cell's files: a finished cell is not run again."""
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()[:16]

    @property
    def coded_bits(self) -> int:
        """Bits of an element as it is sent, 0 for float32."""
        if self.bits is not None:
            return self.bits
        return 0 if protected.reads_updates(self.protection) else BITS

    @property
    def mode(self) -> str:
        """How the product's trainer runs BatchNorm: "train" with the statistics of the batch if it
        has more than one image, "eval" with the running ones otherwise. Asks the model.
        """
        if self.batch == 1 or self.frozen:
            return "eval"
        return "train" if models.has_batchnorm(self.model) else "eval"

    @property
    def lr(self) -> float:
        """A single step of SGD is large enough for 12 bits. Several are smaller, because one image
        would be learnt by heart in the first. After earlier rounds they are smaller still, because
        nothing would be left to learn in the attacked round.
        """
        if self.optimizer == "adam" or self.state:
            return 1e-3
        return 0.1 if self.local_steps == 1 else 0.02

    @property
    def state_name(self) -> str:
        """The state of training, as the table says it."""
        return {0: "start", 1: "round 1"}.get(self.state, "last")


def default(base: Cell, further_models: Sequence[str] = ("lenet-dlg-relu", "cnn3")) -> list[Cell]:
    """Return the cells around `base`, which is the first; none occurs twice."""
    return list(dict.fromkeys(_around(base, further_models)))


def _around(base: Cell, further_models: Sequence[str]) -> Iterator[Cell]:
    from attacks.methods import ATTACKS

    yield base
    for attack in ATTACKS.values():
        for change in attack.cells:
            yield replace(base, attack=attack.name, **change)
    yield from _axes(base)
    for model in further_models:
        normed = models.has_batchnorm(model)
        for attack in ATTACKS.values():
            here = replace(base, attack=attack.name, model=model)
            for change in attack.cells_per_batchnorm_model if normed else attack.cells_per_model:
                yield replace(here, **change)


def _axes(base: Cell) -> Iterator[Cell]:
    """The base cell's attack, with one thing changed at a time."""
    for cut in (2, 3):
        yield replace(base, cut=cut)
    yield replace(base, bits=BITS)
    for name in protected.protecting():
        hidden = replace(base, protection=name, bits=None)
        yield replace(hidden, cohort=5)
        if protected.reads_sums(name):
            yield replace(hidden, cohort=2, adversary=COLLUDING)
    for noise in (0.0001, 0.001, 0.01, 1.0):
        yield replace(base, noise=noise)
    for batch in (2, 4, 8):
        yield replace(base, batch=batch)
    for steps in (5, 20):
        yield replace(base, local_steps=steps)
    yield replace(base, optimizer="adam")
    yield replace(base, optimizer="adam", local_steps=5)
    for state in (1, 10):
        yield replace(base, state=state)


def full_matrix(base: Cell, all_models: Sequence[str]) -> list[Cell]:
    """Return the product of the axes, without what makes no sense; it takes hours on a CPU."""
    from attacks.methods import ATTACKS

    codings: list[tuple[str, int | None]] = [(protected.UNPROTECTED, None)]
    codings += [(protected.UNPROTECTED, BITS)]
    codings += [(name, None) for name in protected.protecting()]
    training = ((1, "sgd"), (5, "sgd"), (5, "adam"))
    cells = []
    for model, cut, coding, batch, (steps, optimizer), state, noise in itertools.product(
        all_models, (0, 1, 2), codings, (1, 4, 16), training, (0, 1, 10), (None, 0.01, 1.0)
    ):
        if noise is not None and coding != codings[0]:
            continue  # behind a protection there is nothing that noise could still hide
        protection, bits = coding
        algorithm = "flop" if cut else "fedavg"
        here = replace(
            base, model=model, cut=cut, algorithm=algorithm, protection=protection, bits=bits,
            batch=batch, local_steps=steps, optimizer=optimizer, state=state, noise=noise,
            images=max(base.images, batch),
            cohort=1 if protected.reads_updates(protection) else 5,
        )  # fmt: skip
        cells += [replace(here, attack=a.name) for a in ATTACKS.values() if algorithm in a.product]
    return cells


def affordable(cell: Cell) -> Cell:
    """Return the cell with a budget for minutes: large models get fewer images, and attacks whose
    steps are cheap get more of them. The row of the cell says how many of both.
    """
    from attacks.methods import Load, find

    parameters = models.facts(cell.model).parameters
    if parameters > LARGE:
        return replace(cell, images=max(2, cell.batch))
    if cell.steps is None:
        return cell
    effort = find(cell.attack).effort(Load(parameters, _smooth(cell.model), cell.batch))
    return replace(cell, steps=cell.steps * effort)


def cost(cell: Cell) -> float:
    """A rough measure of the time that a cell takes, to begin with the longest."""
    large = models.facts(cell.model).parameters > LARGE
    together = 2 if cell.cohort > 1 else 1
    return (50.0 if large else 1.0) * cell.batch * cell.local_steps * together


def _smooth(model: str) -> bool:
    """Whether no activation of the model has a kink."""
    from torch import nn

    net = models.build(model, channels=1, image_size=32, classes=2)
    return not any(isinstance(m, nn.ReLU | nn.ReLU6 | nn.LeakyReLU) for m in net.modules())
