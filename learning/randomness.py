"""PyTorch's global random state, seeded for a while and restored.

Default initialisation and dropout draw from nothing else.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import torch

_one_at_a_time = threading.RLock()


@contextmanager
def seeded(seed: int, device: torch.device | None = None) -> Iterator[None]:
    """The global generators of the CPU and of `device` start at `seed`, and are restored.

    The state belongs to the process: threads that draw from it wait for each other here, because
    the same seed would otherwise not give the same bytes.
    """
    cuda = device is not None and device.type == "cuda"
    with _one_at_a_time, torch.random.fork_rng(devices=[device] if cuda else []):
        # not torch.manual_seed: that would seed the other accelerators too
        torch.default_generator.manual_seed(seed)
        if cuda:
            with torch.cuda.device(device):
                torch.cuda.manual_seed(seed)
        yield


@contextmanager
def unseeded() -> Iterator[None]:
    """For draws that need not be repeatable: they wait for the thread that is inside `seeded`."""
    with _one_at_a_time:
        yield
