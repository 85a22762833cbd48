"""The private head known: what FLOP's protection is worth when its one secret is out, an upper
bound for the other attacks.

For one image every class is tried as the label and the objective decides; for more a soft label is
searched for each.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from attacks.methods._attack import Attack, Reconstruction, Settings
from attacks.methods._matching import defaults, label_logits, match
from attacks.methods._replica import Replica, class_count
from attacks.observation import Case


def reconstruct(cases: Sequence[Case], settings: Settings) -> Reconstruction:
    settings = defaults(settings, steps=600, lr=0.05, tv=1e-3, restarts=2)
    classes, single = class_count(cases[0]), cases[0].images == 1
    tries = settings.restarts * (classes if single else 1)
    replica = Replica(cases, tries, dtype=settings.dtype, device=settings.device)
    coins = settings.generator()
    start = {"image": replica.random_images(coins)}
    if single:
        labels = torch.arange(replica.count, device=replica.device)[:, None] % classes
        return match(cases, replica, start, settings, labels=labels, polish=2 * settings.steps)
    return match(
        cases,
        replica,
        start | {"label": label_logits(replica, coins)},
        settings,
        polish=2 * settings.steps,
    )


ATTACK = Attack(
    "oracle_head",
    "baseline",
    frozenset({"update", "batch_size", "classes", "oracle_head"}),
    reconstruct,
)
