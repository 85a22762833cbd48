"""The private head is known: an upper bound for the other attacks on FLOP.

For one image every class is tried as the label and the objective decides; for more images, a soft
label is searched for each.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from attacks.methods._answers import Reconstruction
from attacks.methods._attack import Attack, Settled
from attacks.methods._matching import label_logits, match
from attacks.methods._replica import Replica, class_count
from attacks.observation import Case


def reconstruct(cases: Sequence[Case], settings: Settled) -> Reconstruction:
    classes, single = class_count(cases[0]), cases[0].images == 1
    tries = settings.restarts * (classes if single else 1)
    replica = Replica(cases, tries, dtype=settings.dtype, device=settings.device)
    coins = settings.generator()
    start = {"image": replica.random_images(coins)}
    if single:
        replica.labels = torch.arange(replica.count, device=replica.device)[:, None] % classes
        return match(cases, replica, start, settings, polish=2 * settings.steps)
    return match(
        cases,
        replica,
        start | {"label": label_logits(replica, coins)},
        settings,
        polish=2 * settings.steps,
    )


DEFAULTS = Settled(steps=600, tv=1e-3, restarts=2)
ATTACK = Attack(
    "oracle_head",
    "with the hospital's own head",
    "baseline: upper bound for an attack on FLOP",
    frozenset({"update", "batch_size", "classes", "oracle_head"}),
    Reconstruction,
    reconstruct,
    DEFAULTS,
    product=("flop",),
)
