"""How much faster an attack runs on many images at once than on one after the other."""

from __future__ import annotations

import time
from dataclasses import replace

import numpy as np
import torch

from attacks.gate_trials import KNOWN_STEP, ONE_STEP, Scale, trials
from attacks.methods._descent import cosine_distance
from attacks.methods._replica import Replica
from attacks.observation import Case


def rate(scale: Scale, count: int, together: int = 32, repeats: int = 10) -> float:
    """Return image-steps per second of Inverting Gradients on `count` copies.

    It is the fastest of three measurements, so that another process's work does not count.
    """
    pictures = scale.pictures(scale.colour, together)
    part = replace(pictures, images=pictures.images[:1], labels=pictures.labels[:1])
    [trial] = trials(part, ONE_STEP.but(model="lenet-dlg", algorithm="fedavg"), 1)
    replica = Replica([Case(trial.observation, KNOWN_STEP)], count, device=scale.device)
    image = replica.random_images(torch.Generator().manual_seed(0))
    labels = torch.zeros(count, 1, dtype=torch.int64, device=scale.device)

    def step() -> None:
        variable = image.clone().requires_grad_()
        distance = cosine_distance(replica.gradients(variable, labels), replica.target)
        torch.autograd.grad(distance.sum(), variable)
        if scale.device.startswith("cuda"):
            torch.cuda.synchronize()

    step()
    fastest = np.inf
    for _ in range(3):
        begun = time.perf_counter()
        for _ in range(repeats):
            step()
        fastest = min(fastest, time.perf_counter() - begun)
    return count * repeats / fastest
