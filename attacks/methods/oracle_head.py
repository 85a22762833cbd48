"""The private head known: what FLOP's protection is worth when its one secret is out, an upper bound for every other attack."""

from __future__ import annotations

from collections.abc import Sequence

from attacks.methods._attack import Attack, Reconstruction, Settings
from attacks.methods._matching import defaults, label_logits, match
from attacks.methods._replica import Replica
from attacks.methods.inverting_gradients import RATE
from attacks.observation import Case


def reconstruct(cases: Sequence[Case], settings: Settings) -> Reconstruction:
    settings = defaults(settings, steps=1000, lr=RATE, tv=1e-3, restarts=4)
    replica = Replica(cases, settings.restarts, dtype=settings.dtype, device=settings.device)
    coins = settings.generator()
    start = {"image": replica.random_images(coins), "label": label_logits(replica, coins)}
    return match(cases, replica, start, settings, polish=500)


ATTACK = Attack("oracle_head", "baseline", frozenset({"update", "batch_size", "classes", "oracle_head"}), reconstruct)
