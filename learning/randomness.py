"""torch's global random state, seeded for a while and given back: default initialisation and
dropout draw from nowhere else.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import torch

_one_at_a_time = threading.RLock()


@contextmanager
def seeded(seed: int, device: torch.device | None = None) -> Iterator[None]:
    """The global generators of the CPU and of `device` start at `seed` inside, and are as they were
    behind it.

    The state belongs to the process: threads that draw from it wait for each other here, or the
    same seed would not give the same bytes.
    """
    cuda = device is not None and device.type == "cuda"
    with _one_at_a_time, torch.random.fork_rng(devices=[device] if cuda else []):
        # not torch.manual_seed: that would seed the other accelerators too
        torch.random.default_generator.manual_seed(seed)
        if cuda:
            with torch.cuda.device(device):
                torch.cuda.manual_seed(seed)
        yield


@contextmanager
def unseeded() -> Iterator[None]:
    """For draws that nobody needs to repeat: they wait for whoever is inside `seeded`."""
    with _one_at_a_time:
        yield
