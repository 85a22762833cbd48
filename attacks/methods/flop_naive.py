"""The baseline that FLOP's paper implies: guess a head and a label at random, and match the shared
layers' gradient.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from attacks.methods._attack import Attack, Reconstruction, Settings
from attacks.methods._matching import defaults, match
from attacks.methods._replica import Replica
from attacks.observation import Case


def reconstruct(cases: Sequence[Case], settings: Settings) -> Reconstruction:
    settings = defaults(settings, steps=600, lr=0.05, tv=1e-3, restarts=4)
    replica = Replica(cases, settings.restarts, dtype=settings.dtype, device=settings.device)
    coins = settings.generator()
    replica.head = replica.random_head(coins)
    guess = torch.randint(replica.classes, (replica.count, replica.images), generator=coins).to(
        replica.device
    )
    found = match(cases, replica, {"image": replica.random_images(coins)}, settings, labels=guess)
    # a guess is no finding: label N/A
    return Reconstruction(
        found.images, None, found.objective, steps=found.steps, seconds=found.seconds
    )


ATTACK = Attack(
    "flop_naive", "baseline", frozenset({"update", "batch_size", "classes"}), reconstruct
)
