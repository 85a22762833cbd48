import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from learning.data import local_split


def test_stratified_without_groups():
    labels = np.repeat([0, 1, 2], [100, 50, 3])
    train, test = local_split(labels, seed=1)
    assert np.bincount(labels[test]).tolist() == [20, 10, 1]
    assert np.array_equal(np.sort(np.concatenate([train, test])), np.arange(153))
    assert not np.array_equal(test, local_split(labels, seed=2)[1])
    assert np.array_equal(test, local_split(labels, seed=1)[1])
    assert abs(len(local_split(labels, fraction_test=0.3)[1]) - 46) <= 1


def test_groups_do_not_cross_and_classes_stay_near():
    rng = np.random.default_rng(0)
    patients = rng.integers(0, 200, 500)
    labels = patients % 3
    train, test = local_split(labels, np.array([f"g{p}" for p in patients]), seed=0)
    assert not set(patients[train]) & set(patients[test])
    wanted = 0.2 * np.bincount(labels)
    assert (np.abs(np.bincount(labels[test]) - wanted) <= 2).all()


@settings(deadline=None, max_examples=100)
@given(
    st.lists(st.tuples(st.integers(0, 3), st.integers(0, 8)), max_size=40),
    st.sampled_from([0.0, 0.1, 0.2, 0.5, 0.9]),
    st.integers(0, 3),
)
def test_always_a_split(images, fraction, seed):
    labels, groups = (np.array([image[i] for image in images], dtype=np.int64) for i in (0, 1))
    train, test = local_split(labels, groups, fraction, seed)
    assert np.array_equal(np.sort(np.concatenate([train, test])), np.arange(len(labels)))
    assert not set(groups[train]) & set(groups[test])
    assert len(train) > 0 or len(labels) == 0
    if len(set(groups)) > 1 and fraction * len(labels) >= 0.5:
        assert len(test) > 0
    if fraction == 0:
        assert len(test) == 0


def test_tiny_hospitals_as_documented():
    assert [len(part) for part in local_split(np.array([0]))] == [1, 0]
    assert [len(part) for part in local_split(np.array([0, 1]))] == [2, 0]
    assert [len(part) for part in local_split(np.array([0, 1, 2]))] == [2, 1]
    assert [len(part) for part in local_split(np.zeros(9, int), np.zeros(9, int))] == [9, 0]


def test_nonsense():
    with pytest.raises(ValueError, match="fraction_test"):
        local_split(np.zeros(3), fraction_test=1.0)
    with pytest.raises(ValueError, match="2 groups"):
        local_split(np.zeros(3), np.zeros(2))
