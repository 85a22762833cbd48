"""The leakage matrix: what a cell is, and which cells there are.

The base cell is DLG's LeNet under FLOP, one image, one step, BatchNorm at rest, the start of
training, nothing hidden. The default matrix walks along one axis at a time from there; `full` is
the product of what can be combined.
"""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace

CURIOUS, COLLUDING = "honest-but-curious", "honest-but-curious + 1 hospital"
UNCHECKED, OTHER_LAYERS, OTHER_START, OTHER_AGGREGATE = (
    f"malicious: {lie}"
    for lie in ("nothing is checked", "other layers", "another start", "another aggregate")
)
PROTECTIONS = ("plain", "plain-12bit", "masked", "ckks", "masked+ckks")
ON_EVERYTHING = ("dlg", "idlg", "inverting_gradients", "closed_form")
BATCHNORM = ("resnet18", "resnet50", "resnext18", "resnext50", "mobilenetv2", "covidnet")
# L2 norm that a hospital's whole update is cut to: declared before any update is seen, the same for
# all models
DP_CLIP = 1.0


@dataclass(frozen=True)
class Cell:
    """One row. `cut`: how many last layers are private (0 under fedavg); `local_steps`: passes over
    the hospital's one batch; `state`: rounds of training behind the attacked one; `noise`: DP's
    noise multiplier, None without DP; `frozen`: BatchNorm trains with its running statistics;
    `cohort`: hospitals in the sum under masked, otherwise how many are attacked side by side;
    `images`: attacked in all; `steps`: the attack's budget.
    """

    attack: str = "varpro"
    algorithm: str = "flop"
    protection: str = "plain"
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
    def mode(self) -> str:
        """How the product's trainer runs BatchNorm: a single image uses the running statistics,
        more use their own.
        """
        return "train" if self.batch > 1 and self.model in BATCHNORM and not self.frozen else "eval"

    @property
    def lr(self) -> float:
        """SGD's single step is large enough for 12 bits; several are smaller, or one image would be
        learnt by heart in the first, and smaller still those of rounds before the attacked one, or
        there would be nothing left to learn in it and no update to attack.
        """
        if self.optimizer == "adam" or self.state:
            return 1e-3
        return 0.1 if self.local_steps == 1 else 0.02

    @property
    def state_name(self) -> str:
        return {0: "start", 1: "round 1"}.get(self.state, "last")


def default(base: Cell, models: Sequence[str] = ("lenet-dlg-relu", "cnn3")) -> list[Cell]:
    """One axis at a time around `base`."""
    return list(dict.fromkeys(_around(base, models)))


def _around(base: Cell, models: Sequence[str]) -> Iterator[Cell]:
    yield base
    fedavg = replace(base, algorithm="fedavg", cut=0)
    for attack in ON_EVERYTHING:
        yield replace(fedavg, attack=attack)
    for attack in ("flop_naive", "flop_joint", "oracle_head"):
        yield replace(base, attack=attack)
    yield replace(base, attack="proxy_head", adversary=COLLUDING)
    yield replace(base, attack="proxy_head", adversary=COLLUDING, state=10)
    yield replace(base, attack="membership", batch=4)
    yield replace(fedavg, attack="label_distribution", batch=8, images=32)
    yield replace(base, attack="imprint", adversary=UNCHECKED)
    yield replace(base, attack="imprint", adversary=OTHER_LAYERS, protection="masked", cohort=5)
    yield replace(base, attack="imprint", adversary=OTHER_START, protection="masked", cohort=5)
    yield replace(base, attack="imprint", adversary=OTHER_AGGREGATE, protection="masked", cohort=5)
    yield replace(base, attack="imprint", adversary=OTHER_AGGREGATE, protection="plain")
    for cut in (2, 3):
        yield replace(base, cut=cut)
    yield replace(base, protection="plain-12bit")
    yield replace(base, protection="masked", cohort=5)
    yield replace(base, protection="masked", cohort=2, adversary=COLLUDING)
    for protection in ("ckks", "masked+ckks"):
        yield replace(base, protection=protection, cohort=5)
    for noise in (0.0001, 0.001, 0.01, 1.0):
        yield replace(base, noise=noise)
    for batch in (2, 4, 8):
        yield replace(base, batch=batch)
    for steps in (5, 20):
        yield replace(base, local_steps=steps)
    yield replace(base, optimizer="adam")
    yield replace(base, optimizer="adam", local_steps=5)
    yield replace(fedavg, attack="inverting_gradients_multistep", local_steps=5)
    for state in (1, 10):
        yield replace(base, state=state)
    small = [model for model in models if model not in BATCHNORM]
    for model in small:
        yield replace(base, model=model)
    for model in small:  # what hospitals do: many images, several passes, Adam
        real = replace(base, model=model, optimizer="adam", batch=8, local_steps=3)
        yield real
        yield replace(real, algorithm="fedavg", cut=0, attack="inverting_gradients_multistep")
    for model in models:
        if model in BATCHNORM:
            # do a batch's own statistics stand between image and gradient? Every layer is seen:
            # that bounds what FLOP's part can show
            batch = replace(fedavg, model=model, batch=2)
            yield replace(batch, attack="inverting_gradients", frozen=True)
            yield replace(batch, attack="inverting_gradients")
            yield replace(batch, attack="gradinversion", restarts=2)


def full_matrix(base: Cell, models: Sequence[str]) -> list[Cell]:
    """The product of the axes, less what makes no sense; hours on a CPU."""
    cells = []
    axes = itertools.product(
        models,
        (0, 1, 2),
        PROTECTIONS,
        (1, 4, 16),
        ((1, "sgd"), (5, "sgd"), (5, "adam")),
        (0, 1, 10),
        (None, 0.01, 1.0),
    )
    for model, cut, protection, batch, (steps, optimizer), state, noise in axes:
        if noise is not None and protection != "plain":
            continue  # behind a protection there is nothing that noise could still hide
        where = replace(
            base,
            model=model,
            cut=cut,
            algorithm="flop" if cut else "fedavg",
            protection=protection,
            batch=batch,
            local_steps=steps,
            optimizer=optimizer,
            state=state,
            noise=noise,
            images=max(base.images, batch),
            cohort=5 if protection not in ("plain", "plain-12bit") else 1,
        )
        for attack in (
            ("flop_naive", "varpro", "oracle_head") if cut else (*ON_EVERYTHING, "varpro")
        ):
            cells.append(replace(where, attack=attack))
    return cells
