"""How many images of each class did the hospital train on? Read off a shared head's gradient.

With cross-entropy the bias' gradient is mean(p_c) − share of class c; the mean prediction p is
simulated on shadow images at the parameters before the round. If the head is private there is
nothing to read and the attack is refused; chance is the distance of the shadow data's own mix.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

import numpy as np
import torch

from attacks.methods._answers import LabelShares
from attacks.methods._attack import EVERY_LAYER, Attack, Settled
from attacks.methods._replica import Replica
from attacks.observation import Case, known


def infer(cases: Sequence[Case], settings: Settled) -> LabelShares:
    begun = time.perf_counter()
    answers = []
    for case in cases:
        copy = Replica([case], dtype=settings.dtype, device=settings.device)
        images, _ = known(case.knowledge.shadow, "shadow")
        shadow = torch.from_numpy(images).to(settings.device, settings.dtype)
        with torch.no_grad():
            prediction = copy.logits(shadow[None], copy.shared)[0].softmax(-1).mean(0)
            estimate = (prediction - copy.target["head.bias"][0]).clamp_min(0).cpu().numpy()
        answers.append(estimate / max(estimate.sum(), 1e-12))
    return LabelShares(steps=1, seconds=time.perf_counter() - begun, shares=np.stack(answers))


NEEDS = frozenset({"full_update", "shadow", "learning_rate", "local_steps"})
ATTACK = Attack(
    "label_distribution",
    "which diagnoses, how often?",
    "after Wainakh et al. 2022, User-Level Label Leakage from Gradients",
    NEEDS,
    LabelShares,
    infer,
    cells=({**EVERY_LAYER, "batch": 8, "images": 32},),
)
