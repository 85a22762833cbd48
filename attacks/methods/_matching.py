"""Gradient matching with Adam, and a polish with L-BFGS: what most of the attacks are made of.

An attack says what is unknown (image, soft label, head) by what it puts into `start`, and what is
given by `head` and `labels`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from attacks.methods._attack import Reconstruction, Settings
from attacks.methods._descent import choose, cosine_distance, descend, dot, total_variation
from attacks.methods._lbfgs import minimise
from attacks.methods._replica import Replica, Tensors
from attacks.observation import Case


def label_logits(replica: Replica, generator: torch.Generator) -> Tensor:
    """A start for unknown soft labels, (N, B, classes)."""
    shape = (replica.count, replica.images, replica.classes)
    return 0.1 * torch.randn(shape, generator=generator).to(replica.device, replica.dtype)


def gradient_of(replica: Replica, variables: Tensors, labels: Tensor | None) -> Tensors:
    """The shared gradient at a trial point. Variables: `image`, perhaps `label` (logits), perhaps
    `head.…` tensors.
    """
    targets = variables["label"].softmax(-1) if "label" in variables else labels
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
    settings: Settings,
    *,
    labels: Tensor | None = None,
    signed: bool = False,
    polish: int = 0,
) -> Reconstruction:
    """Adam on one minus the cosine, which no unknown learning rate can upset, plus TV; restarts
    chosen by the match alone; then at most `polish` steps of L-BFGS in float64 on the same distance
    without TV.

    `signed` is Geiping et al. 2020: the sign of the image's gradient, and their steps of the rate.
    """
    replica.memory["labels"] = (
        labels if labels is not None else torch.zeros(replica.count, 0, device=replica.device)
    )

    def objective(copies: Replica, variables: Tensors) -> tuple[Tensor, Tensor]:
        given = copies.memory["labels"] if labels is not None else None
        distance = cosine_distance(gradient_of(copies, variables, given), copies.target)
        return distance, distance + settings.tv * total_variation(variables["image"])

    found = descend(
        objective, replica, start, settings, schedule="steps" if signed else "cosine", signed=signed
    )
    best = {
        name: choose(value, found.objective, len(cases)) for name, value in found.variables.items()
    }
    score = choose(found.objective, found.objective, len(cases))
    chosen_labels = None if labels is None else choose(labels, found.objective, len(cases))
    steps, seconds = found.steps, found.seconds
    if polish:
        exact = Replica(cases, 1, dtype=torch.float64, device=settings.device)
        exact.head = {
            n: choose(v, found.objective, len(cases)).double() for n, v in replica.head.items()
        }
        if chosen_labels is not None:
            exact.memory["labels"] = chosen_labels
        fine = minimise(
            lambda copies, variables: cosine_distance(
                gradient_of(copies, variables, copies.memory.get("labels")), copies.target
            ),
            exact,
            {name: value.to(torch.float64) for name, value in best.items()},
            steps=polish,
            tolerance=1e-12,
            progress=settings.progress,
        )
        best = fine.variables
        steps, seconds = steps + fine.steps, seconds + fine.seconds
    answer = best["label"].argmax(-1) if "label" in best else chosen_labels
    return Reconstruction(
        best["image"].clamp(0, 1).float().cpu().numpy(),
        None if answer is None else answer.cpu().numpy(),
        score.cpu().numpy(),
        steps=steps,
        seconds=seconds,
    )


def defaults(settings: Settings, **own: object) -> Settings:
    """Settings of the published attack, in pixels of [0, 1] rather than in the network's input
    units.
    """
    return replace(settings.over(**own).over(restarts=1, tolerance=1e-9, dtype=torch.float32))
