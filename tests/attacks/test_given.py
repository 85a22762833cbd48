"""What the benchmark tells an attack: what everybody knows, and what the attack declares."""

from typing import Any

import numpy as np
import pytest

from attacks import given
from attacks.cells import Cell
from attacks.methods import Attack, Reconstruction
from attacks.observation import NEEDS, Observation
from attacks.pictures import Pictures
from attacks.trials import Trial, Truth
from learning.data import arrays
from tests.attacks.victims import SIZE, pictures, truth

IMAGES, OTHERS = pictures(4, seed=1), pictures(6, seed=2)
LABELS = np.array([0, 1, 1, 0])
SHADOW = np.array([0, 1, 0, 1, 0, 1])
DATASET = arrays(IMAGES, LABELS, test=(OTHERS[:2], SHADOW[:2]))
PICTURES = Pictures("waves", ("a", "b"), IMAGES, LABELS, OTHERS, SHADOW, DATASET)
CELL = Cell(batch=2, local_steps=5, optimizer="adam")


def trial(at: int, ciphertext: bytes = b"") -> Trial:
    update = {"a": np.full(3, float(at), np.float32)}
    seen = Observation(
        "lenet-dlg", 1, SIZE, update, None if ciphertext else update, ciphertext=ciphertext
    )
    head = {"head.bias": np.array([float(at)])}
    return Trial(seen, Truth(truth(IMAGES[at : at + 2]), LABELS[at : at + 2], (head,)))


TRIALS = [trial(0), trial(2)]


def told(*needs: str, at: int = 0, trials: list[Trial] = TRIALS) -> Any:
    attack = Attack[Any]("mine", "", "", frozenset(needs), Reconstruction, lambda c, s: c)
    return given.case(attack, CELL, PICTURES, trials, at)


def test_everybody_knows_what_the_agreed_config_says() -> None:
    known = told().knowledge
    assert (known.learning_rate, known.local_steps, known.optimizer) == (1e-3, 5, "adam")
    assert (known.batch_size, known.classes, known.mode) == (2, 2, "eval")


def test_an_attack_is_told_nothing_that_it_does_not_declare() -> None:
    known = told("update", "batch_size", "classes").knowledge
    assert known.head is None and known.candidates is None
    assert known.shadow is None and known.labels is None


def test_the_oracle_has_the_head_of_the_attacked_hospital() -> None:
    known = told("oracle_head", at=1).knowledge
    assert known.head_source == "oracle" and known.head["head.bias"].tolist() == [2.0]


@pytest.mark.parametrize(("at", "whose"), [(0, 2.0), (1, 0.0)])
def test_a_proxy_is_the_head_of_another_hospital(at: int, whose: float) -> None:
    known = told("proxy_head", at=at).knowledge
    assert known.head_source == "proxy" and known.head["head.bias"].tolist() == [whose]


def test_half_of_the_candidates_are_the_hospitals_own_images() -> None:
    known = told("candidates", at=1).knowledge
    np.testing.assert_array_equal(known.candidates[:2], truth(IMAGES[2:4]))
    np.testing.assert_array_equal(known.candidates[2:], OTHERS[2:4] / 255)


def test_shadow_data_are_others_with_their_labels() -> None:
    images, labels = told("shadow").knowledge.shadow
    np.testing.assert_array_equal(images, OTHERS / 255)
    assert labels.tolist() == [0, 1, 0, 1, 0, 1]


def test_public_images_are_the_data_sets_test_part() -> None:
    np.testing.assert_array_equal(told("public").knowledge.public, OTHERS[:2] / 255)


def test_a_ciphertext_is_read_as_numbers_and_never_left_out() -> None:
    case = told(trials=[trial(0, bytes(range(256)))])
    read = case.observation.readable["a"]
    assert read.shape == (3,) and np.abs(read).max() <= 1
    again = told(trials=[trial(0, bytes(range(256)))]).observation.readable["a"]
    np.testing.assert_array_equal(read, again)


def test_what_can_be_supplied_is_a_word_of_the_needs() -> None:
    assert set(given.SUPPLIES) <= set(NEEDS)
