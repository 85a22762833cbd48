"""Was this image in the batch? A candidate is a member as far as it explains the shared gradient.

The score is the share of the update that some cotangent at the candidate's features reproduces, 1 −
min |Jᵀ v − g|² / |g|²: VarPro's residual without a search, so that head, label and loss need not be
known. In the spirit of Nasr et al. 2019 (an observer's gradient features), without their shadow
models. Chance is an AUC of 0.5.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

import numpy as np
import torch

from attacks.methods._answers import Membership
from attacks.methods._attack import Attack, Settled
from attacks.methods._replica import Replica
from attacks.methods.varpro import relative_residual
from attacks.observation import Case, known

CG_STEPS = 40


def infer(cases: Sequence[Case], settings: Settled) -> Membership:
    begun = time.perf_counter()
    rows = []
    for case in cases:
        images = known(case.knowledge.candidates, "candidates")
        candidates = torch.from_numpy(images).to(settings.device, settings.dtype)
        copies = Replica([case], len(candidates), dtype=settings.dtype, device=settings.device)
        rows.append(
            1 - relative_residual(copies, candidates[:, None], CG_STEPS).detach().cpu().numpy()
        )
    return Membership(steps=CG_STEPS, seconds=time.perf_counter() - begun, scores=np.stack(rows))


ATTACK = Attack(
    "membership",
    "was this image in the batch?",
    "after Nasr et al. 2019, Comprehensive Privacy Analysis of Deep Learning",
    frozenset({"update", "candidates"}),
    Membership,
    infer,
    Settled(dtype=torch.float64),
    cells=({"batch": 4},),
)
