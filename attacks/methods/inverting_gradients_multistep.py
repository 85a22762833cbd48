"""Inverting Gradients against several local steps (Geiping et al. 2020, section 6): unroll the
training, match the update.

The attacker simulates the hospital's SGD or Adam on its trial images, batch after batch in a fixed
order, and matches the whole update. The true order of the images is not knowable and does not
matter: it is only their names.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from attacks.methods._attack import Attack, Reconstruction, Settings
from attacks.methods._descent import choose, cosine_distance, descend, total_variation
from attacks.methods._matching import defaults
from attacks.methods._replica import Replica, Tensors
from attacks.methods.inverting_gradients import RATE, TV, known_or_read
from attacks.observation import Case, SideKnowledge

ADAM = (0.9, 0.999, 1e-8)


def reconstruct(cases: Sequence[Case], settings: Settings) -> Reconstruction:
    settings = defaults(settings, steps=2400, lr=RATE, tv=TV)
    known = cases[0].knowledge
    replica = Replica(cases, settings.restarts, dtype=settings.dtype, device=settings.device)
    replica.memory["labels"] = known_or_read(cases, replica)

    def objective(copies: Replica, variables: Tensors) -> tuple[Tensor, Tensor]:
        end = local_training(copies, variables["image"], copies.memory["labels"], known)
        moved = {name: copies.shared[name] - end[name] for name in end}
        distance = cosine_distance(moved, copies.target)
        return distance, distance + settings.tv * total_variation(variables["image"])

    start = {"image": replica.random_images(settings.generator())}
    found = descend(objective, replica, start, settings, schedule="steps", signed=True)
    return Reconstruction(
        choose(found.variables["image"], found.objective, len(cases)).cpu().numpy(),
        known_or_read(cases, replica)[:: settings.restarts].cpu().numpy(),
        choose(found.objective, found.objective, len(cases)).cpu().numpy(),
        steps=found.steps,
        seconds=found.seconds,
    )


def local_training(
    copies: Replica, images: Tensor, labels: Tensor, known: SideKnowledge
) -> Tensors:
    """The parameters after the hospital's steps on these images, as a differentiable function of
    the images.
    """
    weights: Tensors = dict(copies.shared)
    first = {name: torch.zeros_like(value) for name, value in weights.items()}
    second = {name: torch.zeros_like(value) for name, value in weights.items()}
    batches = max(1, images.shape[1] // known.batch_size)
    for step in range(1, known.local_steps + 1):
        at = (step - 1) % batches * known.batch_size
        loss = copies.loss(
            images[:, at : at + known.batch_size], labels[:, at : at + known.batch_size], weights
        )
        found = torch.autograd.grad(loss.sum(), list(weights.values()), create_graph=True)
        for name, gradient in zip(list(weights), found, strict=True):
            if known.optimizer == "adam":
                b1, b2, epsilon = ADAM
                first[name] = b1 * first[name] + (1 - b1) * gradient
                second[name] = b2 * second[name] + (1 - b2) * gradient**2
                # the root has no derivative at 0, where a dead unit leaves it
                root = (second[name] / (1 - b2**step) + 1e-16).sqrt()
                gradient = first[name] / (1 - b1**step) / (root + epsilon)
            weights[name] = weights[name] - known.learning_rate * gradient
    return weights


ATTACK = Attack(
    "inverting_gradients_multistep",
    "Geiping et al. 2020",
    frozenset({"full_update", "batch_size", "local_steps", "learning_rate", "optimizer"}),
    reconstruct,
)
