"""Gradient matching with Adam, and a polish with L-BFGS: what most of the attacks are made of.

An attack puts what it searches for (image, soft label, head) into `start`, and what it has fixed
into the replica's `head` and `labels`.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from attacks.methods._answers import Reconstruction
from attacks.methods._attack import Settled
from attacks.methods._descent import choose, cosine_distance, descend, dot, total_variation
from attacks.methods._lbfgs import minimise
from attacks.methods._replica import Replica, Tensors
from attacks.observation import Case


def label_logits(replica: Replica, generator: torch.Generator) -> Tensor:
    """A start for unknown soft labels, (N, B, classes)."""
    shape = (replica.count, replica.images, replica.classes)
    return 0.1 * torch.randn(shape, generator=generator).to(replica.device, replica.dtype)


def gradient_of(replica: Replica, variables: Tensors) -> Tensors:
    """The shared gradient at a trial point. Variables: `image`, perhaps `label` (logits), perhaps
    `head.…` tensors. The labels are those of the replica if none are searched for.
    """
    targets = variables["label"].softmax(-1) if "label" in variables else replica.labels
    if targets is None:
        raise ValueError("a gradient needs labels: fix them or search for them")
    head = {name: value for name, value in variables.items() if name not in ("image", "label")}
    return replica.gradients(variables["image"], targets, {**replica.head, **head})


def squared_distance(found: Tensors, target: Tensors) -> Tensor:
    """(N,) squared L2 distance over all parameters, relative to the target's (Zhu et al. 2019, made
    free of scale).
    """
    gap = {name: found[name] - target[name] for name in found}
    return dot(gap, gap) / dot(target, target).clamp_min(1e-30)


def match(
    cases: Sequence[Case],
    replica: Replica,
    start: Tensors,
    settings: Settled,
    *,
    signed: bool = False,
    polish: int = 0,
) -> Reconstruction:
    """Minimise one minus the cosine, which needs no learning rate, plus total variation, with Adam.

    Args:
        cases: What was seen, in the replica's order.
        replica: The attacker's copies, with labels and head as far as they are fixed.
        start: What is searched for, each with leading axis N.
        settings: Steps, rate and weight of the total variation.
        signed: Step along the sign of the image's gradient, with the paper's schedule of the rate
            (Geiping et al. 2020).
        polish: At most this many steps of L-BFGS follow, in float64 and without total variation.

    Returns:
        The best restart of each case, chosen by the match alone.
    """

    def objective(copies: Replica, variables: Tensors) -> tuple[Tensor, Tensor]:
        distance = cosine_distance(gradient_of(copies, variables), copies.target)
        return distance, distance + settings.tv * total_variation(variables["image"])

    found = descend(
        objective, replica, start, settings, schedule="steps" if signed else "cosine", signed=signed
    )
    best = {
        name: choose(value, found.objective, len(cases)) for name, value in found.variables.items()
    }
    score = choose(found.objective, found.objective, len(cases))
    labels = replica.labels
    if labels is not None:
        labels = choose(labels, found.objective, len(cases))
    steps, seconds = found.steps, found.seconds
    if polish:
        exact = Replica(cases, 1, dtype=torch.float64, device=settings.device)
        exact.head = {
            n: choose(v, found.objective, len(cases)).double() for n, v in replica.head.items()
        }
        exact.labels = labels
        fine = minimise(
            lambda copies, variables: cosine_distance(
                gradient_of(copies, variables), copies.target
            ),
            exact,
            {name: value.to(torch.float64) for name, value in best.items()},
            steps=polish,
            tolerance=1e-12,
            progress=settings.progress,
        )
        best = fine.variables
        steps, seconds = steps + fine.steps, seconds + fine.seconds
    answer = best["label"].argmax(-1) if "label" in best else labels
    return Reconstruction(
        steps=steps,
        seconds=seconds,
        images=best["image"].clamp(0, 1).float().cpu().numpy(),
        labels=None if answer is None else answer.cpu().numpy(),
        objective=score.cpu().numpy(),
    )
