"""Inverting Gradients (Geiping et al. 2020): one minus the cosine, total variation, signed Adam in
the box.

Single step, with every layer's gradient seen; the labels are known or read off the head's gradient.
The settings are the paper's for a LeNet on CIFAR-10, with the rate in pixels of [0, 1].
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from attacks.methods._attack import Attack, Reconstruction, Settings
from attacks.methods._labels import from_head_gradient
from attacks.methods._matching import defaults, match
from attacks.methods._replica import Replica
from attacks.observation import Case
from learning.training import INPUT_STD

STEPS, RATE, TV = 4800, 0.1 * INPUT_STD, 1e-2


def reconstruct(cases: Sequence[Case], settings: Settings) -> Reconstruction:
    settings = defaults(settings, steps=STEPS, lr=RATE, tv=TV)
    replica = Replica(cases, settings.restarts, dtype=settings.dtype, device=settings.device)
    start = {"image": replica.random_images(settings.generator())}
    return match(cases, replica, start, settings, labels=known_or_read(cases, replica), signed=True)


def known_or_read(cases: Sequence[Case], replica: Replica) -> torch.Tensor:
    """(N, B) labels: the declared ones where they are known, else those that the head's gradient
    shows.
    """
    if cases[0].knowledge.labels is None:
        return from_head_gradient(replica)
    known = torch.from_numpy(np.stack([case.knowledge.labels for case in cases])).to(
        replica.device, torch.int64
    )
    return known.repeat_interleave(replica.restarts, dim=0)


ATTACK = Attack(
    "inverting_gradients",
    "Geiping et al. 2020",
    frozenset({"full_update", "batch_size"}),
    reconstruct,
)
