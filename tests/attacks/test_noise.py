"""Differential privacy in the trials: what is cut, what is added, what ε it gives."""

import numpy as np
import pytest

from attacks import noise
from attacks.observation import Observation
from attacks.trials import Trial, Truth

NOBODY = Truth(np.zeros((1, 1, 28, 28)), np.zeros(1, np.int64), ({},))


def noisy(update: np.ndarray, multiplier: float, seed: int = 0) -> np.ndarray:
    seen = Observation("lenet-dlg", 1, 28, {"a": update}, {"a": update})
    [changed] = noise.noisy([Trial(seen, NOBODY)], multiplier, seed)
    return changed.observation.readable["a"]


@pytest.mark.parametrize("size", [100.0, 1e4])
def test_a_large_update_is_cut_to_the_declared_norm(size: float) -> None:
    cut = noisy(np.full(64, size, np.float32), 1e-6)
    assert np.linalg.norm(cut) == pytest.approx(noise.CLIP, rel=1e-4)


def test_a_small_update_is_not_enlarged() -> None:
    small = np.full(64, 1e-3, np.float32)
    np.testing.assert_allclose(noisy(small, 1e-9), small, atol=1e-7)


def test_noise_follows_the_clip_and_not_the_update() -> None:
    for size in (1e-9, 1e3):
        added = noisy(np.full(10_000, size, np.float32), 0.5)
        assert added.std() == pytest.approx(0.5 * noise.CLIP, rel=0.05)


def test_the_same_seed_adds_the_same_noise() -> None:
    update = np.ones(16, np.float32)
    np.testing.assert_array_equal(noisy(update, 1.0, 3), noisy(update, 1.0, 3))
    assert not np.array_equal(noisy(update, 1.0, 3), noisy(update, 1.0, 4))


def test_epsilon_falls_with_noise_and_grows_with_rounds() -> None:
    assert noise.epsilon(2.0, 1) < noise.epsilon(1.0, 1) < noise.epsilon(1.0, 10)


def test_epsilon_of_one_release_is_the_published_order() -> None:
    """ε at δ = 1e-5 for noise of one sensitivity: between 4 and 5 (RDP is an upper bound)."""
    assert 4 < noise.epsilon(1.0, 1) < 5
