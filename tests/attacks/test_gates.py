"""The gates that take seconds, on the built-in images; `flop attack bench --gates` runs all of them
on real ones.
"""

from dataclasses import replace

import pytest

from attacks.gate_trials import Scale
from attacks.gates import GATES, masked_sum

SMALL = Scale(xrays="phantom-cxr", images=4, steps=10, restarts=1)


def test_closed_form_is_exact() -> None:
    assert GATES["closed-form"](SMALL).passed


@pytest.mark.slow
def test_ciphertext_and_an_honest_cohorts_sum_show_no_more_than_a_guess() -> None:
    for name in ("ckks", "masked"):
        gate = GATES[name](SMALL)
        assert gate.passed, gate


def test_a_gate_fails_where_its_figure_is_missed() -> None:
    """Five steps of DLG are not enough for 40 dB, and the row says so."""
    gate = GATES["dlg"](replace(SMALL, images=2, steps=5))
    assert not gate.passed and gate.figure < gate.threshold


@pytest.mark.slow
def test_the_masked_sum_is_taken_apart_with_its_certificate() -> None:
    """Three hospitals of one image, with few public images to fit the decoder on."""
    scale = replace(SMALL, xrays="phantom-cxr:60")
    gate = masked_sum(scale, hospitals=3, batch=1)
    assert gate.detail.startswith("3 images of phantom-cxr in one sum")
    assert "certificate 0." in gate.detail and gate.figure > 10
