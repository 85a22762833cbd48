"""Scores with known answers."""

import numpy as np
import pytest

from attacks import scores


def test_one_assignment_pairs_each_reconstruction_once() -> None:
    truth = np.stack([np.full((1, 16, 16), v) for v in (0.2, 0.5, 0.8)])
    # the middle image is nearest to two of the guesses; greedy scoring would use it twice
    found = np.stack([np.full((1, 16, 16), v) for v in (0.52, 0.45, 0.85)])
    assert scores.assignment(found, truth).tolist() == [1, 0, 2]
    labels = scores.score(found, truth, labels=np.array([1, 0, 2]), true_labels=np.array([0, 1, 2]))
    assert [s.label for s in labels] == [True, True, True]


def test_psnr_is_the_textbooks() -> None:
    truth = np.zeros((1, 1, 16, 16))
    [only] = scores.score(np.full((1, 1, 16, 16), 0.1), truth)
    assert only.psnr == pytest.approx(20.0)
    assert only.label is None and only.identified is None


def test_identifiability_looks_for_the_nearest_training_image() -> None:
    coins = np.random.default_rng(0)
    pool = coins.uniform(size=(10, 1, 16, 16))
    near = pool[3:4] + coins.normal(0, 0.05, (1, 1, 16, 16))
    assert scores.score(near, pool[3:4], pool=pool)[0].identified
    assert not scores.score(pool[4:5], pool[3:4], pool=pool)[0].identified


def test_ncc_forgives_contrast_and_inversion_but_not_another_image() -> None:
    coins = np.random.default_rng(0)
    a, b = coins.uniform(size=(2, 1, 16, 16))
    assert scores.ncc(1 - 0.3 * a, a) == pytest.approx(1.0)
    assert scores.ncc(b, a) < 0.3
    assert scores.ncc(np.full_like(a, 0.5), a) == 0


def test_success_is_three_db_above_the_images_own_best_control() -> None:
    def at(db: float) -> scores.ImageScore:
        return scores.ImageScore(db, 0.0, 0.0, None, None)

    row = scores.summarise([at(10), at(14.9), at(15), at(40)], np.array([12.0, 12, 12, 38]))
    assert row.success_rate == 0.25
    assert row.control_psnr == 12
    assert row.label_accuracy is None and row.identifiability is None


def test_not_a_number_is_grey_and_not_a_crash() -> None:
    truth = np.full((1, 1, 16, 16), 0.5)
    [only] = scores.score(np.full((1, 1, 16, 16), np.nan), truth)
    assert only.psnr == 120


def test_auc() -> None:
    member = np.array([1, 1, 0, 0])
    assert scores.auc(np.array([4.0, 3, 2, 1]), member) == 1
    assert scores.auc(np.array([1.0, 1, 1, 1]), member) == 0.5
    with pytest.raises(ValueError, match="both kinds"):
        scores.auc(np.ones(2), np.ones(2))
