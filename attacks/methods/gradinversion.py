"""GradInversion (Yin et al. 2021): gradient matching with BatchNorm and a group of restarts.

The batch's own statistics follow from the running buffers before and after one train-mode step,
(after − (1 − m) before) / m (Hatamizadeh et al. 2023). Eval-mode hospitals leave the buffers as
they are: then those are matched, as a prior.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from attacks.methods._answers import Reconstruction
from attacks.methods._attack import EVERY_LAYER, Attack, Settled
from attacks.methods._descent import choose, cosine_distance, descend, total_variation
from attacks.methods._replica import Replica, Tensors
from attacks.methods.inverting_gradients import RATE, known_or_read
from attacks.observation import Case

# the paper's weights, ours being relative to the match
BATCHNORM, L2, TV, GROUP = 0.1, 1e-6, 1e-4, 0.01


def reconstruct(cases: Sequence[Case], settings: Settled) -> Reconstruction:
    replica = Replica(cases, settings.restarts, dtype=settings.dtype, device=settings.device)
    labels = known_or_read(cases, replica)
    statistics = {
        name: known.repeat_interleave(settings.restarts, 0)
        for name, known in batch_statistics(cases).items()
    }
    statistics = {
        name: value.to(replica.device, replica.dtype) for name, value in statistics.items()
    }

    def objective(copies: Replica, variables: Tensors) -> tuple[Tensor, Tensor]:
        image = variables["image"]
        distance = cosine_distance(copies.gradients(image, labels), copies.target)
        group = image.view(len(cases), settings.restarts, *image.shape[1:])
        apart = ((group - group.mean(1, keepdim=True).detach()) ** 2).flatten(2).mean(2).flatten()
        total = (
            distance
            + settings.tv * total_variation(image)
            + L2 * (image**2).flatten(1).sum(1)
            + GROUP * apart
        )
        if statistics:
            total = total + BATCHNORM * statistics_distance(copies, image, statistics)
        return distance, total

    start = {"image": replica.random_images(settings.generator())}
    found = descend(objective, replica, start, settings, schedule="cosine")
    return Reconstruction(
        steps=found.steps,
        seconds=found.seconds,
        images=choose(found.variables["image"], found.objective, len(cases)).cpu().numpy(),
        labels=labels[:: settings.restarts].cpu().numpy(),
        objective=choose(found.objective, found.objective, len(cases)).cpu().numpy(),
    )


def batch_statistics(cases: Sequence[Case]) -> Tensors:
    """The batch's mean and variance (cases, channels) behind each running buffer that was seen."""
    seen = cases[0].observation
    found: Tensors = {}
    for name in seen.buffers_after:
        if name.endswith(("running_mean", "running_var")) and name in seen.buffers_before:
            rows = []
            for observation, known in cases:
                before, after = observation.buffers_before[name], observation.buffers_after[name]
                # n steps weigh the start by (1 − m)^n and the batches, taken as alike, by the rest
                left = (1 - MOMENTUM) ** (known.local_steps or 1) if known.mode == "train" else 0.0
                rows.append(torch.from_numpy((after - left * before) / (1 - left)))
            found[name] = torch.stack(rows)
    return found


MOMENTUM = 0.1  # of nn.BatchNorm2d, by default


def statistics_distance(copies: Replica, image: Tensor, statistics: Tensors) -> Tensor:
    """(N,) relative squared distance of batch statistics to the observed ones, mean over layers."""
    layers = [(n, m) for n, m in copies.model.named_modules() if f"{n}.running_mean" in statistics]
    total = torch.zeros(copies.count, dtype=copies.dtype, device=copies.device)
    for (name, _), inputs in zip(
        layers, copies.inputs_of([module for _, module in layers], image), strict=True
    ):
        values = inputs.transpose(1, 2).flatten(2)  # (N, channels, images x positions)
        for kind, here in (("running_mean", values.mean(2)), ("running_var", values.var(2))):
            seen = statistics[f"{name}.{kind}"]
            total = total + ((here - seen) ** 2).sum(1) / (seen**2).sum(1).clamp_min(1e-12)
    return total / (2 * len(layers))


ATTACK = Attack(
    "gradinversion",
    "GradInversion, with BatchNorm's statistics",
    "Yin et al. 2021, See through Gradients",
    frozenset({"full_update", "batch_size", "buffers"}),
    Reconstruction,
    reconstruct,
    # tolerance -1: a copy that ended early would leave its group, so none may
    Settled(steps=2400, lr=RATE, tv=TV, restarts=8, tolerance=-1.0),
    cells=(),
    cells_per_batchnorm_model=({**EVERY_LAYER, "batch": 2, "restarts": 2},),
)
