"""Differential privacy on a trial's updates: the Gaussian mechanism, and the ε that it gives."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import dp_accounting
import numpy as np
from dp_accounting.rdp import RdpAccountant

from attacks.observation import Arrays
from attacks.trials import Trial

CLIP = 1.0
"""L2 norm to which a hospital's whole update is cut: declared beforehand, the same for all."""
DELTA = 1e-5


def noisy(trials: Sequence[Trial], multiplier: float, seed: int) -> list[Trial]:
    """Cut every update to an L2 norm of CLIP and add noise of multiplier x CLIP to every element.

    It is added to the float32 update that the coordinator reads, as a hospital would add it before
    sending.
    """
    coins, changed = np.random.default_rng(seed), []
    for trial in trials:
        shrink = min(1.0, CLIP / max(_norm(trial.observation.readable), 1e-30))
        update = {
            name: (value * shrink + coins.normal(0, multiplier * CLIP, value.shape)).astype(
                np.float32
            )
            for name, value in trial.observation.readable.items()
        }
        changed.append(replace(trial, observation=replace(trial.observation, update=update)))
    return changed


def epsilon(multiplier: float, rounds: int) -> float:
    """ε at δ = 1e-5 over `rounds` rounds without sampling (dp-accounting, RDP).

    The unit is the hospital: its whole update, of at most the clip's norm, or none.
    """
    event = dp_accounting.SelfComposedDpEvent(dp_accounting.GaussianDpEvent(multiplier), rounds)
    return round(float(RdpAccountant().compose(event).get_epsilon(DELTA)), 2)


def _norm(update: Arrays) -> float:
    return math.sqrt(sum(float((value.astype(np.float64) ** 2).sum()) for value in update.values()))
