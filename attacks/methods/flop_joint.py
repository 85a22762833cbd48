"""Image, soft label and the whole private part searched for at once: DLG with an unknown head."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from attacks.methods._answers import Reconstruction
from attacks.methods._attack import Attack, Settled
from attacks.methods._matching import label_logits, match
from attacks.methods._replica import Replica
from attacks.observation import Case


def reconstruct(cases: Sequence[Case], settings: Settled) -> Reconstruction:
    replica = Replica(cases, settings.restarts, dtype=settings.dtype, device=settings.device)
    coins = settings.generator()
    start = {
        "image": replica.random_images(coins),
        "label": label_logits(replica, coins),
        **replica.random_head(coins),
    }
    found = match(cases, replica, start, settings, polish=2 * settings.steps)
    # permuting the rows of an unknown head changes nothing, so the label's index cannot be known
    return replace(found, labels=None)


ATTACK = Attack(
    "flop_joint",
    "image, label and head searched together",
    "baseline, after Zhu et al. 2019",
    frozenset({"update", "batch_size", "classes"}),
    Reconstruction,
    reconstruct,
    Settled(steps=600, tv=1e-3, restarts=4),
)
