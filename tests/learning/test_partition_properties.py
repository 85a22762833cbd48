"""What a partition may depend on, and what it may not: properties for any labels and groups."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from learning.partition import choice, partition

SPECS = ["iid", "skew:0.6", "skew:1:4", "dirichlet:0.3", "dirichlet:10"]
seeds = st.integers(0, 2**32)


@st.composite
def labelled(draw: st.DrawFn, least: int = 24) -> tuple[np.ndarray, np.ndarray]:
    """Labels of four classes, all present, and a patient for each image."""
    count = draw(st.integers(least, 60))
    rng = np.random.default_rng(draw(seeds))
    labels = np.concatenate([np.arange(4), rng.integers(0, 4, count - 4)])
    return labels, rng.integers(0, count // 2, count)


def same(left: list[np.ndarray], right: list[np.ndarray]) -> bool:
    return all(np.array_equal(a, b) for a, b in zip(left, right, strict=True))


@settings(deadline=None, max_examples=25)
@given(st.sampled_from(SPECS), labelled(), seeds)
def test_the_patients_names_have_no_influence(spec, images, seed):
    labels, patients = images
    named = np.array([f"patient {(7919 * p) % 1009:04}" for p in patients])
    plain = partition(spec, labels, None, 3, seed, patients)
    assert same(plain.parts, partition(spec, labels, None, 3, seed, named).parts)


@settings(deadline=None, max_examples=25)
@given(st.sampled_from(SPECS), labelled(), seeds)
def test_the_numbers_of_the_classes_have_no_influence_beyond_their_order(spec, images, seed):
    labels, _ = images
    spread = np.array([2, 30, 31, 500])[labels]
    assert same(
        partition(spec, labels, None, 3, seed).parts, partition(spec, spread, None, 3, seed).parts
    )


@settings(deadline=None, max_examples=25)
@given(st.sampled_from(SPECS), labelled(), seeds)
def test_patients_of_one_image_are_divided_like_images(spec, images, seed):
    labels, _ = images
    alone = np.arange(len(labels))[::-1].copy()
    assert same(
        partition(spec, labels, None, 4, seed).parts,
        partition(spec, labels, None, 4, seed, alone).parts,
    )


@settings(deadline=None, max_examples=25)
@given(st.sampled_from(SPECS), labelled(), seeds)
def test_parts_are_sorted_int64_rows_and_one_hospital_has_them_all(spec, images, seed):
    labels, patients = images
    for part in partition(spec, labels, None, 3, seed, patients).parts:
        assert part.dtype == np.int64 and (np.diff(part) > 0).all()
    (whole,) = partition(spec, labels, None, 1, seed, patients).parts
    assert np.array_equal(whole, np.arange(len(labels)))


@settings(deadline=None, max_examples=25)
@given(labelled(), st.integers(1, 6), seeds)
def test_iid_differs_by_at_most_the_largest_patient(images, hospitals, seed):
    """The bound of greedy balancing: when the fullest hospital got its last patient, it was the
    emptiest.
    """
    labels, patients = images
    sizes = [len(part) for part in partition("iid", labels, None, hospitals, seed, patients).parts]
    assert max(sizes) - min(sizes) <= np.bincount(patients).max()


@settings(deadline=None, max_examples=25)
@given(st.integers(1, 8), st.integers(2, 9), seeds)
def test_skew_gives_every_hospital_the_same_number_of_chunks(hospitals, chunks, seed):
    """Three images a chunk, so that the chunks of a part can be counted."""
    labels = np.repeat(np.arange(4), chunks * 3)
    parts = partition(f"skew:0.5:{chunks}", labels, None, hospitals, seed).parts
    assert all(len(part) % 3 == 0 for part in parts)
    held = [len(part) // 3 for part in parts]
    assert sum(held) == 4 * chunks
    # the first hospitals get the chunks that are left over
    assert held == sorted(held, reverse=True) and held[0] - held[-1] <= 1


@settings(deadline=None, max_examples=40)
@given(
    st.floats(0, 1),
    st.integers(2, 12).flatmap(
        lambda count: st.tuples(
            st.integers(0, count - 1), st.lists(st.booleans(), min_size=count, max_size=count)
        )
    ),
)
def test_the_next_chunks_class_has_a_probability(lam, where):
    preferred, left = where[0], np.array(where[1])
    if not left.any():
        return
    p = choice(lam, preferred, left)
    assert p.sum() == pytest.approx(1) and (p >= 0).all() and (p[~left] == 0).all()
    others = np.delete(p, preferred)[np.delete(left, preferred)]
    assert np.allclose(others, others[:1])  # all classes but the preferred one are alike
    if left.all():
        assert p[preferred] == pytest.approx(lam)


def test_a_single_class_is_always_the_next():
    assert choice(0.0, 0, np.array([True])).tolist() == [1.0]


@settings(deadline=None, max_examples=25)
@given(st.sampled_from([0.001, 0.1, 1.0, 100.0]), st.integers(2, 8), seeds)
def test_dirichlet_leaves_everybody_a_tenth_of_an_equal_share(alpha, hospitals, seed):
    labels = np.repeat(np.arange(3), 80)
    result = partition(f"dirichlet:{alpha}", labels, None, hospitals, seed)
    assert min(len(part) for part in result.parts) >= 240 // (10 * hospitals)
    assert all("moved from the largest" in note for note in result.notes)


def test_dirichlet_divides_each_class_apart():
    """At a small alpha, most of a class is at one hospital; the classes differ in which one."""
    labels = np.repeat(np.arange(6), 200)
    parts = partition("dirichlet:0.05", labels, None, 3, seed=2).parts
    counts = np.array([np.bincount(labels[part], minlength=6) for part in parts])
    assert (counts.max(axis=0) > 150).sum() >= 4
    assert len(set(counts.argmax(axis=0))) == 3


def test_a_patients_class_is_the_commonest_and_the_lowest_at_a_tie():
    """With LAMBDA = 1 a patient goes to the hospital of that class."""
    labels = np.array([0, 1, 1, 2, 2, 0, 0, 2])
    patients = np.array([0, 0, 0, 1, 1, 1, 2, 2])
    parts = partition("skew:1:1", labels, None, 3, 0, patients).parts
    assert [part.tolist() for part in parts] == [[6, 7], [0, 1, 2], [3, 4, 5]]


def test_values_of_a_column_keep_their_rows_together_in_alphabetical_order():
    site = np.array(list("cabcabbb"))
    result = partition("by:site", np.zeros(8, int), {"site": site.tolist()}, 3, seed=0)
    assert [set(site[part]) for part in result.parts] == [{"a"}, {"b"}, {"c"}]
    assert result.notes == ["hospital 1 = a (2)", "hospital 2 = b (4)", "hospital 3 = c (2)"]


def test_more_values_than_hospitals_are_grouped_and_the_notes_say_so():
    site = ["a"] * 6 + ["b"] * 5 + ["c"] * 2 + ["d"]
    result = partition("by:site", np.zeros(14, int), {"site": site}, 2, seed=0)
    assert [len(part) for part in result.parts] == [7, 7]
    assert result.notes == [
        "4 values of site were grouped into 2 hospitals, as equal in size as whole values allow",
        "hospital 1 = a (6), d (1)",
        "hospital 2 = b (5), c (2)",
    ]


@settings(deadline=None, max_examples=25)
@given(labelled(), st.integers(2, 4), seeds)
def test_a_column_that_follows_the_patients_tears_none(images, hospitals, seed):
    labels, patients = images
    by_patient = {"site": [str(p % 4) for p in patients]}
    if len(set(by_patient["site"])) < hospitals:
        return
    result = partition("by:site", labels, by_patient, hospitals, seed, patients)
    assert not any("more than one hospital" in note for note in result.notes)
    by_row = {"site": [str(i % 4) for i in range(len(labels))]}
    torn = partition("by:site", labels, by_row, hospitals, seed, np.zeros(len(labels), int))
    assert torn.notes[-1].startswith("1 patients or groups have images at more than one hospital")


@pytest.mark.parametrize(
    ("how", "says"),
    [
        ({"hospitals": 0}, "at least one hospital, not 0"),
        ({"hospitals": -3}, "at least one hospital, not -3"),
        ({"groups": np.zeros(3)}, "8 labels but 3 groups"),
        ({"spec": "by:site", "columns": {"site": ["a"]}}, "'site' has 1 values for 8 images"),
        ({"spec": "by:site"}, "the columns are: none"),
        ({"spec": "skew:0.5:1.5"}, "CHUNKS must be a whole number of at least 1, not '1.5'"),
        ({"spec": "skew:0.5:1000001"}, "CHUNKS"),
        ({"spec": "skew:-0.1"}, "LAMBDA is a probability, 0 to 1, not -0.1"),
        ({"spec": "dirichlet:-1"}, "ALPHA must be above 0, not -1"),
        ({"spec": "dirichlet:much"}, "'much' is not a number"),
        ({"spec": "iid", "labels": np.zeros(0, int)}, "0 images cannot be divided among 2"),
        ({"groups": np.zeros(8)}, "1 patients or groups cannot be divided among 2 hospitals"),
    ],
)
def test_what_cannot_be_divided_is_refused_in_a_sentence(how, says):
    given = {"spec": "iid", "labels": np.arange(8) % 2, "columns": None, "hospitals": 2, "seed": 0}
    with pytest.raises(ValueError, match=says) as error:
        partition(**(given | how))
    assert str(error.value).endswith(".")


def test_iid_places_large_patients_first():
    """Four patients of one image fill up what one of four leaves: both hospitals get four."""
    patients = np.array([0, 0, 0, 0, 1, 2, 3, 4])
    for seed in range(10):
        parts = partition("iid", np.zeros(8, int), None, 2, seed, patients).parts
        assert [len(part) for part in parts] == [4, 4]
