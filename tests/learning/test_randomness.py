"""torch's global random state: seeded inside, as before behind it, one thread at a time."""

from __future__ import annotations

import threading

import torch

from learning import models
from learning.randomness import seeded


def draw() -> bytes:
    return torch.rand(8).numpy().tobytes()


def test_a_seed_gives_its_bytes_and_the_global_state_comes_back() -> None:
    torch.manual_seed(3)
    before = draw()
    with seeded(1):
        first = draw()
    torch.manual_seed(3)
    with seeded(1):
        assert draw() == first
    assert draw() == before


def test_a_thread_that_draws_waits_for_another_that_is_seeded() -> None:
    """Otherwise the other's bytes would depend on what runs beside it."""
    with seeded(1):
        alone = [draw(), draw()]
    other = threading.Thread(
        target=lambda: models.build("cnn3", channels=1, image_size=28, classes=2)
    )
    with seeded(1):
        drawn = [draw()]
        other.start()
        other.join(0.2)  # long enough to draw, were it not for the lock
        assert other.is_alive()
        drawn.append(draw())
    other.join()
    assert drawn == alone
