"""Image, soft label and the whole private part searched for at once: DLG's idea carried to FLOP's
unknown head.
"""

from __future__ import annotations

from collections.abc import Sequence

from attacks.methods._attack import Attack, Reconstruction, Settings
from attacks.methods._matching import defaults, label_logits, match
from attacks.methods._replica import Replica
from attacks.observation import Case


def reconstruct(cases: Sequence[Case], settings: Settings) -> Reconstruction:
    settings = defaults(settings, steps=600, lr=0.05, tv=1e-3, restarts=4)
    replica = Replica(cases, settings.restarts, dtype=settings.dtype, device=settings.device)
    coins = settings.generator()
    start = {
        "image": replica.random_images(coins),
        "label": label_logits(replica, coins),
        **replica.random_head(coins),
    }
    found = match(cases, replica, start, settings, polish=2 * settings.steps)
    # permuting the rows of an unknown head changes nothing, so the label's index is not
    # identifiable: N/A
    return Reconstruction(
        found.images, None, found.objective, steps=found.steps, seconds=found.seconds
    )


ATTACK = Attack(
    "flop_joint", "baseline", frozenset({"update", "batch_size", "classes"}), reconstruct
)
