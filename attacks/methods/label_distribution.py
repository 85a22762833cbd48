"""How many images of each class did the hospital train on? Read off the head's gradient where the
head is shared.

With cross-entropy the bias' gradient is mean(p_c) − share of class c; the mean prediction p is
simulated on shadow images at the parameters before the round. Where the head is private there is
nothing to read and the attack is refused; chance is the distance of the shadow data's own mix.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

import numpy as np
import torch

from attacks.methods._attack import Attack, Reconstruction, Settings
from attacks.methods._replica import Replica
from attacks.observation import Case


def infer(cases: Sequence[Case], settings: Settings) -> Reconstruction:
    """`answers` (cases, classes): the estimated distribution, non-negative, of sum 1."""
    begun = time.perf_counter()
    settings = settings.over(dtype=torch.float32)
    answers = []
    for case in cases:
        copy = Replica([case], dtype=settings.dtype, device=settings.device)
        shadow = torch.from_numpy(case.knowledge.shadow[0]).to(settings.device, settings.dtype)
        with torch.no_grad():
            prediction = copy.logits(shadow[None], copy.shared)[0].softmax(-1).mean(0)
            estimate = (prediction - copy.target["head.bias"][0]).clamp_min(0).cpu().numpy()
        answers.append(estimate / max(estimate.sum(), 1e-12))
    return Reconstruction(answers=np.stack(answers), steps=1, seconds=time.perf_counter() - begun)


NEEDS = frozenset({"full_update", "shadow", "learning_rate", "local_steps"})
ATTACK = Attack("label_distribution", "after Wainakh et al. 2022", NEEDS, infer, finds="labels")
