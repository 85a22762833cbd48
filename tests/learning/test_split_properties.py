"""The local split and the loading of parts, for any patients, fractions and unreadable images."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from learning.data import DataError, arrays, load_parts, local_split
from learning.data.base import Index, Unreadable

fractions = st.floats(0, 0.95)
seeds = st.integers(0, 1000)
patients_of_images = st.lists(st.tuples(st.integers(0, 2), st.integers(0, 12)), max_size=50).map(
    lambda images: (
        np.array([label for label, _ in images], np.int64),
        np.array([patient for _, patient in images], np.int64),
    )
)


@settings(deadline=None, max_examples=35)
@given(patients_of_images, fractions, seeds)
def test_both_parts_are_sorted_and_the_same_for_the_same_seed(images, fraction, seed):
    labels, patients = images
    first = local_split(labels, patients, fraction, seed)
    again = local_split(labels.copy(), patients.copy(), fraction, seed)
    for part, same in zip(first, again, strict=True):
        assert np.array_equal(part, same)
        assert (np.diff(part) > 0).all()


@settings(deadline=None, max_examples=35)
@given(patients_of_images, fractions, seeds)
def test_a_patient_is_never_on_both_sides(images, fraction, seed):
    labels, patients = images
    names = np.array([f"g{p}" for p in patients], dtype=str)
    train, test = local_split(labels, names, fraction, seed)
    assert not set(names[train]) & set(names[test])
    assert sorted([*train, *test]) == list(range(len(labels)))


@settings(deadline=None, max_examples=35)
@given(st.lists(st.integers(0, 3), min_size=4, max_size=60), fractions, seeds)
def test_without_patients_each_class_is_rounded_to_the_nearest_image(labels, fraction, seed):
    labels = np.array(labels)
    train, test = local_split(labels, None, fraction, seed)
    wanted = fraction * np.bincount(labels, minlength=4)
    found = np.bincount(labels[test], minlength=4)
    nearest = np.abs(found - wanted) <= 0.5 + 1e-6
    # the exceptions: rounding left no image to test or to train on, and one was taken
    assert nearest.all() or 1 in (len(train), len(test))


@settings(deadline=None, max_examples=25)
@given(patients_of_images, seeds)
def test_the_classes_names_have_no_influence(images, seed):
    labels, patients = images
    renamed = np.array([10, 77, 1000])[labels] if len(labels) else labels
    for one, other in zip(
        local_split(labels, patients, 0.3, seed),
        local_split(renamed, patients, 0.3, seed),
        strict=True,
    ):
        assert np.array_equal(one, other)


def test_another_seed_tests_other_patients():
    labels, patients = np.zeros(60, int), np.arange(60) // 3
    tested = {tuple(local_split(labels, patients, 0.2, seed)[1]) for seed in range(8)}
    assert len(tested) >= 7
    assert {len(rows) for rows in tested} == {12}


def test_large_patients_are_placed_first():
    """One patient of eight images and eight of one: 0.5 is met exactly, whatever the seed."""
    patients = np.array([0] * 8 + list(range(1, 9)))
    for seed in range(10):
        train, test = local_split(np.zeros(16, int), patients, 0.5, seed)
        assert len(train) == len(test) == 8


@pytest.mark.parametrize("fraction", [-0.1, 1.0, 2.0, float("nan")])
def test_a_fraction_that_leaves_nothing_is_refused(fraction):
    with pytest.raises(ValueError, match="at least 0 and below 1"):
        local_split(np.zeros(3), fraction_test=fraction)


class Torn:
    """The pixels of another reader, but for some rows, which do not decode."""

    def __init__(self, reader, rows):
        self.reader, self.rows = reader, rows

    def read(self, row):
        if row in self.rows:
            raise Unreadable("torn")
        return self.reader.read(row)

    def name(self, row):
        return self.reader.name(row)

    def stamp(self, row):
        return self.reader.stamp(row)


COUNT = 12
PIXELS = np.arange(COUNT, dtype=np.uint8)[:, None, None] * np.ones((1, 8, 8), np.uint8)
LABELS = np.arange(COUNT) % 3
PATIENTS = [f"p{n // 2}" for n in range(COUNT)]


@settings(deadline=None, max_examples=25)
@given(
    st.sets(st.integers(0, COUNT - 1), max_size=COUNT - 1),
    st.lists(st.integers(0, 2), min_size=COUNT, max_size=COUNT),
    seeds,
)
def test_every_readable_image_is_at_its_hospital_with_its_label(torn, owner, seed):
    whole = arrays(PIXELS, LABELS, groups=PATIENTS).train
    index = Index(whole.labels, Torn(whole.reader, torn), 8, 1, whole.groups)
    parts = [np.flatnonzero(np.array(owner) == hospital) for hospital in range(3)]
    wanted = {row for part in parts for row in part.tolist()} - torn
    found: set[int] = set()
    for part, local in zip(
        parts, load_parts(index, parts, test_fraction=0.25, seed=seed), strict=True
    ):
        rows = torch.cat([local.train, local.test])
        # every image holds its own number in each pixel
        numbers = local.images[rows, 0, 3, 3].tolist()
        assert set(numbers) == set(part.tolist()) - torn
        assert local.labels[rows].tolist() == [number % 3 for number in numbers]
        assert sorted(local.skipped) == sorted(
            f"image {row}: torn" for row in part.tolist() if row in torn
        )
        assert sum(map(sum, local.class_counts(3))) == len(local) == len(numbers)
        tested = {PATIENTS[n] for n in local.images[local.test, 0, 0, 0].tolist()}
        trained = {PATIENTS[n] for n in local.images[local.train, 0, 0, 0].tolist()}
        assert not tested & trained
        found |= set(numbers)
    assert found == wanted


def test_no_readable_image_at_all_is_refused():
    whole = arrays(PIXELS, LABELS).train
    index = Index(whole.labels, Torn(whole.reader, range(COUNT)), 8, 1)
    with pytest.raises(DataError, match="Not one of 12 images can be used; the first, image 0"):
        load_parts(index, [np.arange(5), np.arange(5, 12)], test_fraction=0.2, seed=0)


def test_no_parts_and_empty_parts_are_no_trouble():
    index = arrays(PIXELS, LABELS).train
    assert load_parts(index, [], test_fraction=0.2, seed=0) == []
    empty, full = load_parts(index, [np.zeros(0, int), np.arange(6)], test_fraction=0, seed=0)
    assert len(empty) == 0 and empty.class_counts(3) == ([0, 0, 0], [0, 0, 0])
    assert full.class_counts(3) == ([2, 2, 2], [0, 0, 0])
