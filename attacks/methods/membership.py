"""Was this image in the batch? A candidate is a member as far as it can explain the shared
gradient.

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

from attacks.methods._attack import Attack, Reconstruction, Settings
from attacks.methods._replica import Replica
from attacks.methods.varpro import relative_residual
from attacks.observation import Case

CG_STEPS = 40


def infer(cases: Sequence[Case], settings: Settings) -> Reconstruction:
    """`answers` (cases, candidates): the higher, the likelier a member."""
    begun = time.perf_counter()
    settings = settings.over(dtype=torch.float64)
    rows = []
    for case in cases:
        candidates = torch.from_numpy(case.knowledge.candidates).to(settings.device, settings.dtype)
        copies = Replica([case], len(candidates), dtype=settings.dtype, device=settings.device)
        rows.append(
            1 - relative_residual(copies, candidates[:, None], CG_STEPS).detach().cpu().numpy()
        )
    return Reconstruction(
        answers=np.stack(rows), steps=CG_STEPS, seconds=time.perf_counter() - begun
    )


ATTACK = Attack(
    "membership",
    "after Nasr et al. 2019",
    frozenset({"update", "candidates"}),
    infer,
    finds="membership",
)
