"""Adam over the images of many copies at once, as the gradient-inversion papers run it.

Each copy is its own problem: its own moments, its own best point, its own end. Copies that have
reached the tolerance are taken out of the batch, so that their share of the work is saved.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import reduce
from typing import Literal

import torch
from torch import Tensor

from attacks.methods._attack import Settled
from attacks.methods._replica import Replica, Tensors
from learning.training import INPUT_STD

Objective = Callable[[Replica, Tensors], tuple[Tensor, Tensor]]
Schedule = Literal["cosine", "steps", "constant"]
BETA1, BETA2, EPSILON = 0.9, 0.999, 1e-8


@dataclass
class Found:
    """The best point of each copy, its objective (N,) without regularisers, and what it cost."""

    variables: Tensors
    objective: Tensor
    steps: int
    seconds: float


def descend(
    objective: Objective,
    replica: Replica,
    start: Tensors,
    settings: Settled,
    *,
    schedule: Schedule = "cosine",
    signed: bool = False,
) -> Found:
    """Minimise over every tensor of `start` (each with leading axis N); `image` stays in [0, 1].

    `objective(replica, variables)` gives (match, total), both (N,): what restarts are chosen by,
    and what is minimised. `signed` steps along the sign of the image's gradient (Geiping et al.
    2020). A copy ends when its match is below the tolerance.
    """
    begun = time.perf_counter()
    best = {name: value.detach().clone() for name, value in start.items()}
    best_match = torch.full((replica.count,), math.inf, dtype=replica.dtype, device=replica.device)
    alive = torch.arange(replica.count, device=replica.device)
    point = {name: value.detach().clone() for name, value in start.items()}
    moments = {name: (torch.zeros_like(v), torch.zeros_like(v)) for name, v in point.items()}
    step = 0
    for step in range(1, settings.steps + 1):
        variables = {name: value.requires_grad_() for name, value in point.items()}
        match, total = objective(replica, variables)
        gradients = torch.autograd.grad(total.sum(), list(variables.values()))
        match = match.detach()
        better = match < best_match[alive]
        improved = alive[better]
        best_match[improved] = match[better]
        for name, value in variables.items():
            best[name][improved] = value.detach()[better]
        if settings.progress is not None:
            settings.progress(step, settings.steps)

        rate = settings.lr * _factor(schedule, step, settings.steps)
        point = {}
        for (name, value), gradient in zip(variables.items(), gradients, strict=True):
            # one copy that left the numbers must not take the others with it
            gradient = torch.nan_to_num(gradient)
            if signed and name == "image":
                gradient = gradient.sign()
            first, second = moments[name]
            first.mul_(BETA1).add_(gradient, alpha=1 - BETA1)
            second.mul_(BETA2).addcmul_(gradient, gradient, value=1 - BETA2)
            move = (first / (1 - BETA1**step)) / ((second / (1 - BETA2**step)).sqrt() + EPSILON)
            if name == "image":
                point[name] = (value.detach() - rate * move).clamp(0, 1)
            else:  # labels and heads live on the scale of the network's inputs, not of pixels
                point[name] = value.detach() - rate / INPUT_STD * move

        going = match > settings.tolerance
        if not going.any():
            break
        # narrowing costs a copy of everything, so wait until it pays
        if going.sum() <= 0.75 * len(going):
            keep = going.nonzero().squeeze(1)
            alive, replica = alive[keep], replica.rows(keep)
            point = {name: value[keep] for name, value in point.items()}
            moments = {name: (a[keep], b[keep]) for name, (a, b) in moments.items()}
    return Found(best, best_match, step, time.perf_counter() - begun)


def _factor(schedule: Schedule, step: int, steps: int) -> float:
    if schedule == "cosine":
        return 0.5 * (1 + math.cos(math.pi * (step - 1) / steps))
    if schedule == "steps":  # Geiping et al. 2020: a tenth at 3/8, 5/8 and 7/8
        return 0.1 ** sum(step > steps * part for part in (3 / 8, 5 / 8, 7 / 8))
    return 1.0


def total_variation(image: Tensor) -> Tensor:
    """(N,) mean absolute difference of neighbouring pixels of (N, B, C, H, W), in both directions,
    any channels.
    """
    down = (image[..., 1:, :] - image[..., :-1, :]).abs().flatten(1).mean(1)
    right = (image[..., :, 1:] - image[..., :, :-1]).abs().flatten(1).mean(1)
    return down + right


def dot(a: Tensors, b: Tensors) -> Tensor:
    """(N,) inner products over all tensors of each copy."""
    return reduce(torch.add, ((a[name] * b[name]).flatten(1).sum(1) for name in a))


def cosine_distance(found: Tensors, target: Tensors) -> Tensor:
    """(N,) one minus the cosine over all parameters at once (Geiping et al. 2020)."""
    tiny = 1e-30
    return (
        1
        - dot(found, target)
        / (dot(found, found).clamp_min(tiny) * dot(target, target).clamp_min(tiny)).sqrt()
    )


def choose(found: Tensor, objective: Tensor, cases: int) -> Tensor:
    """Of each case's restarts the one with the least objective: (cases * restarts, ...) to (cases,
    ...).
    """
    best = torch.nan_to_num(objective, nan=math.inf).view(cases, -1).argmin(1)
    return found.view(cases, -1, *found.shape[1:])[torch.arange(cases, device=found.device), best]
