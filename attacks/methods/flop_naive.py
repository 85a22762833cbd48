"""The baseline that the FLOP paper implies: guess head and label, match the shared gradient."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch

from attacks.methods._answers import Reconstruction
from attacks.methods._attack import Attack, Finding, Settled
from attacks.methods._matching import match
from attacks.methods._replica import Replica
from attacks.observation import Case


def reconstruct(cases: Sequence[Case], settings: Settled) -> Reconstruction:
    replica = Replica(cases, settings.restarts, dtype=settings.dtype, device=settings.device)
    coins = settings.generator()
    replica.head = replica.random_head(coins)
    replica.labels = torch.randint(
        replica.classes, (replica.count, replica.images), generator=coins
    ).to(replica.device)
    found = match(cases, replica, {"image": replica.random_images(coins)}, settings)
    return replace(found, labels=None)  # a guess is no finding


ATTACK = Attack(
    "flop_naive",
    "naive: a made-up head",
    "baseline, implied by the FLOP paper",
    frozenset({"update", "batch_size", "classes"}),
    Reconstruction,
    reconstruct,
    Settled(steps=600, tv=1e-3, restarts=4),
    product=("flop",),
    finding=Finding(
        "The naive attack that guesses the head reaches {psnr_median:.0f} dB: it would call FLOP"
        " safe, wrongly.",
        where={"algorithm": "flop", "protection": "plain"},
    ),
)
