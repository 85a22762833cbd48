"""What the gates measure on: rounds of one image a hospital, and scores of all of them."""

import numpy as np
import pytest

from attacks import gate_trials, throughput
from attacks.gate_trials import ONE_STEP, Scale
from attacks.gates import GATES, _timed
from attacks.observation import Observation
from attacks.pictures import Pictures, take
from attacks.protected import protecting, reads_sums
from attacks.trials import Trial, Truth
from tests.attacks.victims import pictures, truth

SMALL = Scale(xrays="phantom-cxr:20", colour="phantom-cxr:80", images=4)
IMAGES = pictures(2)


def trial(at: int, update: np.ndarray | None = None, ciphertext: bytes = b"") -> Trial:
    shape = {"a": np.zeros(2, np.float32)}
    seen = Observation(
        "lenet-dlg", 1, 28, shape, None if update is None else {"a": update}, ciphertext=ciphertext
    )
    return Trial(seen, Truth(truth(IMAGES[at : at + 1]), np.array([at]), ({},)))


def test_every_picture_is_trained_on_once_and_every_round_has_its_own_start() -> None:
    shown = take("phantom-cxr:20", 3, image_size=32)
    found = gate_trials.trials(shown, ONE_STEP.but(model="lenet-dlg"), 1)
    assert len(found) == 3 and all(t.truth.images.shape == (1, 1, 32, 32) for t in found)
    first, second = (t.observation.shared_before["body.0.weight"] for t in found[:2])
    assert not np.array_equal(first, second)


def test_an_exact_reconstruction_has_the_scales_end() -> None:
    found = [trial(0), trial(1)]
    exact = np.stack([t.truth.images for t in found])
    assert gate_trials.psnrs(exact, found).tolist() == [120, 120]
    assert gate_trials.psnrs(exact[::-1], found).max() < 40


def test_each_image_is_held_against_its_better_constant_guess() -> None:
    found = [trial(0), trial(1)]
    own_mean = found[0].truth.images[0]
    best = gate_trials.controls(found, own_mean)
    assert best[0] == 120 and best[1] < 40


def test_a_ciphertext_is_read_as_numbers() -> None:
    sealed = gate_trials.readable(trial(0, ciphertext=b"0123"))
    assert sealed.observation.readable["a"].shape == (2,)
    open_ = gate_trials.readable(trial(0, np.ones(2, np.float32)))
    assert open_.observation.readable["a"].tolist() == [1, 1]


def test_settings_leave_the_attacks_own_unless_asked() -> None:
    assert SMALL.settings().steps is None
    assert (SMALL.settings(3, 2).steps, SMALL.settings(3, 2).restarts) == (3, 2)


def test_a_scale_takes_as_many_pictures_as_it_says() -> None:
    assert len(SMALL.pictures(SMALL.xrays).images) == 4
    assert isinstance(SMALL.pictures(SMALL.xrays, 2), Pictures)


def test_every_protection_has_its_gate_and_a_sum_also_one_with_a_colluder() -> None:
    for name in protecting():
        assert name in GATES
        assert (f"{name}-colluding" in GATES) == reads_sums(name)


@pytest.mark.parametrize(
    ("value", "below", "passed"),
    [(2.0, False, True), (1.0, False, False), (1.0, True, True), (2.0, True, False)],
)
def test_a_gate_is_passed_on_its_own_side_of_the_limit(
    value: float, below: bool, passed: bool
) -> None:
    from attacks.gates import Figure

    gate = _timed("a gate", "dB", 1.5, lambda: Figure(value, "so"), below)
    assert gate.passed is passed and gate.detail == "so" and gate.seconds >= 0


def test_a_rate_is_above_nothing() -> None:
    assert throughput.rate(SMALL, 2, together=2, repeats=1) > 0
