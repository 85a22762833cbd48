"""Deep Leakage from Gradients (Zhu et al. 2019): image and soft label with the gradient seen."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from attacks.methods._answers import Reconstruction
from attacks.methods._attack import EVERY_LAYER, Attack, Load, Settled
from attacks.methods._descent import choose
from attacks.methods._lbfgs import minimise
from attacks.methods._matching import label_logits, squared_distance
from attacks.methods._replica import Replica, Tensors
from attacks.observation import Case
from learning.training import INPUT_STD


def reconstruct(cases: Sequence[Case], settings: Settled) -> Reconstruction:
    replica = Replica(cases, settings.restarts, dtype=settings.dtype, device=settings.device)
    coins = settings.generator()
    start = {"image": standard_normal(replica, coins), "label": label_logits(replica, coins)}

    def distance(copies: Replica, variables: Tensors) -> Tensor:
        return squared_distance(
            copies.gradients(variables["image"], variables["label"].softmax(-1)), copies.target
        )

    return search(distance, replica, start, cases, settings)


DEFAULTS = Settled(steps=2000, restarts=2, dtype=torch.float64)
"""The paper takes 300 steps of L-BFGS with 20 inner iterations each; ours is one loop that stops
when it gains nothing more.
"""


def effort(load: Load) -> int:
    """A step needs two gradients of the model and no inner problem, unlike VarPro's."""
    return 4


def standard_normal(replica: Replica, generator: torch.Generator) -> Tensor:
    """The paper's start: N(0, 1) where it enters the network."""
    shape = (replica.count, replica.images, replica.channels, replica.size, replica.size)
    return 0.5 + INPUT_STD * torch.randn(shape, generator=generator).to(
        replica.device, replica.dtype
    )


def search(
    distance: Callable[[Replica, Tensors], Tensor],
    replica: Replica,
    start: Tensors,
    cases: Sequence[Case],
    settings: Settled,
    labels: Tensor | None = None,
) -> Reconstruction:
    """Minimise `distance` with L-BFGS and return the best restart of each case."""
    found = minimise(
        distance,
        replica,
        start,
        steps=settings.steps,
        tolerance=settings.tolerance,
        progress=settings.progress,
        history=100,
    )
    best = {
        name: choose(value, found.objective, len(cases)) for name, value in found.variables.items()
    }
    if labels is None:
        labels = best["label"].argmax(-1)
    return Reconstruction(
        steps=found.steps,
        seconds=found.seconds,
        images=best["image"].clamp(0, 1).cpu().numpy(),
        labels=labels.cpu().numpy(),
        objective=choose(found.objective, found.objective, len(cases)).cpu().numpy(),
    )


ATTACK = Attack(
    "dlg",
    "DLG, on every layer",
    "Zhu et al. 2019, Deep Leakage from Gradients",
    frozenset({"full_update", "batch_size"}),
    Reconstruction,
    reconstruct,
    DEFAULTS,
    cells=(EVERY_LAYER,),
    product=("fedavg",),
    effort=effort,
)
