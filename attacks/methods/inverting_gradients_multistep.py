"""Inverting Gradients against several local steps (Geiping et al. 2020, section 6).

The attacker simulates the hospital's SGD or Adam on its trial images, batch after batch in a fixed
order, and matches the whole update. The true order of the images is not knowable and does not
matter: it is only their names.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from attacks.methods._answers import Reconstruction
from attacks.methods._attack import AS_HOSPITALS_DO, EVERY_LAYER, Attack, Load, Settled
from attacks.methods._descent import choose, cosine_distance, descend, total_variation
from attacks.methods._replica import Replica, Tensors
from attacks.methods.inverting_gradients import RATE, TV, known_or_read
from attacks.observation import Case, SideKnowledge
from attacks.observation import known as known_value

ADAM = (0.9, 0.999, 1e-8)


def reconstruct(cases: Sequence[Case], settings: Settled) -> Reconstruction:
    known = cases[0].knowledge
    replica = Replica(cases, settings.restarts, dtype=settings.dtype, device=settings.device)
    replica.labels = labels = known_or_read(cases, replica)

    def objective(copies: Replica, variables: Tensors) -> tuple[Tensor, Tensor]:
        end = local_training(
            copies, variables["image"], known_value(copies.labels, "labels"), known
        )
        moved = {name: copies.shared[name] - end[name] for name in end}
        distance = cosine_distance(moved, copies.target)
        return distance, distance + settings.tv * total_variation(variables["image"])

    start = {"image": replica.random_images(settings.generator())}
    found = descend(objective, replica, start, settings, schedule="steps", signed=True)
    return Reconstruction(
        steps=found.steps,
        seconds=found.seconds,
        images=choose(found.variables["image"], found.objective, len(cases)).cpu().numpy(),
        labels=labels[:: settings.restarts].cpu().numpy(),
        objective=choose(found.objective, found.objective, len(cases)).cpu().numpy(),
    )


def effort(load: Load) -> int:
    """A step unrolls the whole local training."""
    return 2


def local_training(
    copies: Replica, images: Tensor, labels: Tensor, known: SideKnowledge
) -> Tensors:
    """The parameters after the hospital's steps on these images, as a differentiable function of
    the images.
    """
    weights: Tensors = dict(copies.shared)
    first = {name: torch.zeros_like(value) for name, value in weights.items()}
    second = {name: torch.zeros_like(value) for name, value in weights.items()}
    size = known_value(known.batch_size, "batch_size")
    rate = known_value(known.learning_rate, "learning_rate")
    batches = max(1, images.shape[1] // size)
    for step in range(1, known_value(known.local_steps, "local_steps") + 1):
        at = (step - 1) % batches * size
        loss = copies.loss(images[:, at : at + size], labels[:, at : at + size], weights)
        found = torch.autograd.grad(loss.sum(), list(weights.values()), create_graph=True)
        for name, gradient in zip(list(weights), found, strict=True):
            if known.optimizer == "adam":
                b1, b2, epsilon = ADAM
                first[name] = b1 * first[name] + (1 - b1) * gradient
                second[name] = b2 * second[name] + (1 - b2) * gradient**2
                # the root has no derivative at 0, where a dead unit leaves it
                root = (second[name] / (1 - b2**step) + 1e-16).sqrt()
                gradient = first[name] / (1 - b1**step) / (root + epsilon)
            weights[name] = weights[name] - rate * gradient
    return weights


ATTACK = Attack(
    "inverting_gradients_multistep",
    "Inverting Gradients, training replayed",
    "Geiping et al. 2020, Inverting Gradients, section 6",
    frozenset({"full_update", "batch_size", "local_steps", "learning_rate", "optimizer"}),
    Reconstruction,
    reconstruct,
    Settled(steps=2400, lr=RATE, tv=TV),
    cells=({**EVERY_LAYER, "local_steps": 5},),
    cells_per_model=({**EVERY_LAYER, **AS_HOSPITALS_DO},),
    effort=effort,
)
