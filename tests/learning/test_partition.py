import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from learning.partition import choice, partition

CIFAR = np.repeat(np.arange(10), 5000)


def complete(parts, count):
    assert all(len(part) for part in parts)
    assert np.array_equal(np.sort(np.concatenate(parts)), np.arange(count))


def test_paper_example_of_cifar():
    """FLOP paper 4.1: 50 clients, 25 chunks of 200 images per class, 5 chunks = 1,000 images each,
    0.6 of the own class.
    """
    parts = partition("skew:0.6:25", CIFAR, None, 50, seed=0).parts
    complete(parts, 50_000)
    assert {len(part) for part in parts} == {1000}
    counts = np.array([np.bincount(CIFAR[part], minlength=10) for part in parts])
    assert (counts % 200 == 0).all()
    own = counts[np.arange(50), np.arange(50) % 10] / 1000
    assert 0.5 < own.mean() < 0.7
    # clients 1, 11, 21, ... prefer the first class, the tenth client the last
    assert counts[0::10, 0].sum() > 2 * counts[1::10, 0].sum()
    assert counts[9::10, 9].sum() > 2 * counts[0::10, 9].sum()


def test_paper_example_of_a_class_that_ran_out():
    """FLOP paper 4.1 (v): 0.6 for the first class and 0.4/9 for the others become 1/9 each when the
    first is empty.
    """
    left = np.ones(10, dtype=bool)
    assert np.allclose(choice(0.6, 0, left), [0.6] + [0.4 / 9] * 9)
    left[0] = False
    assert np.allclose(choice(0.6, 0, left), [0] + [1 / 9] * 9)
    assert np.allclose(choice(1.0, 0, left), [0] + [1 / 9] * 9)
    left[:] = True
    left[3] = False
    assert np.allclose(choice(0.6, 0, left).sum(), 1) and choice(0.6, 0, left)[3] == 0


def test_skew_extremes():
    labels = np.repeat(np.arange(3), 60)
    pure = partition("skew:1.0:10", labels, None, 3, seed=1).parts
    assert [set(labels[part]) for part in pure] == [{0}, {1}, {2}]
    averse = partition("skew:0.0:10", labels, None, 3, seed=1).parts
    assert all((labels[part] == i).mean() < 0.34 for i, part in enumerate(averse))
    # 75 chunks, 15 each
    assert "25 chunks" in partition("skew:0.5", labels, None, 5, seed=1).notes[0]
    # 84 chunks, 21 each
    assert "28 chunks" in partition("skew:0.5", labels, None, 4, seed=1).notes[0]


@settings(deadline=None, max_examples=60)
@given(
    st.sampled_from(["iid", "skew:0.6", "skew:1:4", "skew:0:7", "dirichlet:0.05", "dirichlet:10"]),
    st.lists(st.integers(0, 3), min_size=1, max_size=80),
    st.integers(1, 6),
    st.integers(1, 5),
    st.integers(0, 5),
)
def test_every_row_once_and_groups_whole(spec, labels, hospitals, per_group, seed):
    labels = np.array(labels)
    groups = np.array([f"g{i // per_group}" for i in range(len(labels))])
    try:
        parts = partition(spec, labels, None, hospitals, seed, groups).parts
    except ValueError:
        # too little to divide: fewer groups than hospitals, or than chunks
        assert len(np.unique(groups)) < hospitals or len(np.unique(labels)) * 7 < hospitals * 8
        return
    complete(parts, len(labels))
    homes = [set(groups[part]) for part in parts]
    assert sum(len(home) for home in homes) == len(set(groups))
    again = partition(spec, labels, None, hospitals, seed, groups).parts
    assert all(np.array_equal(a, b) for a, b in zip(parts, again, strict=True))


def test_iid_is_balanced():
    parts = partition("iid", CIFAR[::50], None, 7, seed=3).parts
    assert {len(part) for part in parts} <= {142, 143}
    assert all(np.bincount(CIFAR[::50][part], minlength=10).min() > 3 for part in parts)
    other = partition("iid", CIFAR[::50], None, 7, seed=4).parts
    assert not np.array_equal(parts[0], other[0])


def test_dirichlet_skews_with_alpha_and_never_starves():
    labels = np.repeat(np.arange(3), 100)

    def largest_share(alpha):
        parts = partition(f"dirichlet:{alpha}", labels, None, 5, seed=0).parts
        return np.mean([np.bincount(labels[part]).max() / len(part) for part in parts])

    assert largest_share(0.1) > largest_share(100) + 0.2
    tiny = partition("dirichlet:0.001", labels, None, 10, seed=0)
    assert min(len(part) for part in tiny.parts) >= 3
    assert "moved" in tiny.notes[0]


def test_by_column():
    labels = np.zeros(12, np.int64)
    site = ["b"] * 5 + ["a"] * 4 + ["c"] * 2 + [""]
    exact = partition("by:site", labels, {"site": site}, 4, seed=0)
    assert [len(part) for part in exact.parts] == [1, 4, 5, 2]  # "(blank)" sorts before letters
    grouped = partition("by:site", labels, {"site": site}, 2, seed=0)
    complete(grouped.parts, 12)
    assert sorted(len(part) for part in grouped.parts) == [6, 6]
    assert any("hospital 1 = " in note and "b (5)" in note for note in grouped.notes)
    with pytest.raises(ValueError, match="at most 4"):
        partition("by:site", labels, {"site": site}, 5, seed=0)
    with pytest.raises(ValueError, match="the columns are: site"):
        partition("by:sight", labels, {"site": site}, 2, seed=0)
    torn = partition(
        "by:site", labels, {"site": site}, 4, 0, groups=np.array(["p"] * 6 + list("qrstuv"))
    )
    assert "1 patients or groups" in torn.notes[-1]


@pytest.mark.parametrize(
    "spec",
    [
        "",
        "id",
        "iid:3",
        "skew",
        "skew:x",
        "skew:1.5",
        "skew:nan",
        "skew:0.5:0",
        "skew:0.5:1:2",
        "dirichlet",
        "dirichlet:0",
        "dirichlet:inf",
        "by:",
    ],
)
def test_malformed(spec):
    with pytest.raises(ValueError) as error:
        partition(spec, CIFAR[::500], {}, 2, seed=0)
    assert str(error.value).endswith(".") and "\n" not in str(error.value)


def test_too_few():
    with pytest.raises(ValueError, match="cannot be divided among 3"):
        partition("iid", np.zeros(2, np.int64), None, 3, seed=0)
    with pytest.raises(ValueError, match="more chunks"):
        partition("skew:0.5:1", np.zeros(9, np.int64), None, 3, seed=0)
