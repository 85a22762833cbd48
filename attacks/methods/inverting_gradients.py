"""Inverting Gradients (Geiping et al. 2020): cosine, total variation, signed Adam in the box.

Single step, with every layer's gradient seen; the labels are known or read off the head's gradient.
The settings are the paper's for a LeNet on CIFAR-10, with the rate in pixels of [0, 1].
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from attacks.methods._answers import Reconstruction
from attacks.methods._attack import EVERY_LAYER, Attack, Load, Settled
from attacks.methods._labels import from_head_gradient
from attacks.methods._matching import match
from attacks.methods._replica import Replica
from attacks.observation import Case
from learning.training import INPUT_STD

STEPS, RATE, TV = 4800, 0.1 * INPUT_STD, 1e-2


def reconstruct(cases: Sequence[Case], settings: Settled) -> Reconstruction:
    replica = Replica(cases, settings.restarts, dtype=settings.dtype, device=settings.device)
    start = {"image": replica.random_images(settings.generator())}
    replica.labels = known_or_read(cases, replica)
    return match(cases, replica, start, settings, signed=True)


def effort(load: Load) -> int:
    """A step is one differentiated gradient of the model."""
    return 4


def known_or_read(cases: Sequence[Case], replica: Replica) -> torch.Tensor:
    """(N, B) labels: the declared ones if they are known, otherwise those read off the head."""
    declared = [case.knowledge.labels for case in cases if case.knowledge.labels is not None]
    if not declared:
        return from_head_gradient(replica)
    known = torch.from_numpy(np.stack(declared)).to(replica.device, torch.int64)
    return known.repeat_interleave(replica.restarts, dim=0)


ATTACK = Attack(
    "inverting_gradients",
    "Inverting Gradients, on every layer",
    "Geiping et al. 2020, Inverting Gradients",
    frozenset({"full_update", "batch_size"}),
    Reconstruction,
    reconstruct,
    Settled(steps=STEPS, lr=RATE, tv=TV),
    cells=(EVERY_LAYER,),
    # does a batch's own statistics stand between image and gradient? With every layer seen, the
    # rows bound what FLOP's part can show
    cells_per_batchnorm_model=(
        {**EVERY_LAYER, "batch": 2, "frozen": True},
        {**EVERY_LAYER, "batch": 2},
    ),
    product=("fedavg",),
    effort=effort,
)
