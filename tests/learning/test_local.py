"""One loader for a hospital alone and for all hospitals of a simulation."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from learning.data import arrays, load_parts
from learning.data.base import Unreadable
from learning.data.cache import read

X = np.random.default_rng(0).integers(0, 256, (20, 16, 16), np.uint8)
Y = np.arange(20) % 2
PARTS = [np.arange(0, 12), np.arange(12, 20)]


class Damaged:
    """The pixels of another reader, but for some rows."""

    def __init__(self, reader, rows):
        self.reader, self.rows = reader, rows

    def __getattr__(self, name):
        return getattr(self.reader, name)

    def read(self, row):
        if row in self.rows:
            raise Unreadable("torn")
        return self.reader.read(row)


def damaged(*rows):
    index = arrays(X, Y).train
    return type(index)(index.labels, Damaged(index.reader, rows), 16, 1)


def test_a_part_is_the_same_alone_and_among_others():
    index = arrays(X, Y, groups=[f"p{n // 2}" for n in range(20)]).train
    together = load_parts(index, PARTS, test_fraction=0.3, seed=5)
    for rows, shared in zip(PARTS, together, strict=True):
        (alone,) = load_parts(index, [rows], test_fraction=0.3, seed=5)
        for part in ("train", "test"):
            here, there = getattr(alone, part), getattr(shared, part)
            assert torch.equal(alone.images[here], shared.images[there])
            assert torch.equal(alone.labels[here], shared.labels[there])
    assert together[0].images is together[1].images


def test_training_and_test_rows_are_a_parts_own():
    first, second = load_parts(arrays(X, Y).train, PARTS, test_fraction=1 / 3, seed=0)
    assert sorted([*first.train.tolist(), *first.test.tolist()]) == list(range(12))
    assert sorted([*second.train.tolist(), *second.test.tolist()]) == list(range(12, 20))
    assert first.class_counts(2) == ([4, 4], [2, 2])


def test_each_hospital_hears_of_its_own_unreadable_images():
    first, second = load_parts(damaged(3, 13), PARTS, test_fraction=0, seed=0, notes=["by site"])
    assert first.skipped == ("image 3: torn",) and second.skipped == ("image 13: torn",)
    assert len(first) == 11 and np.array_equal(
        second.images[second.train, 0].numpy(), X[[12, *range(14, 20)]]
    )
    assert second.notes == ("by site",)


def test_a_part_without_a_readable_image_is_empty():
    first, second = load_parts(damaged(*range(12, 20)), PARTS, test_fraction=0.2, seed=0)
    assert len(first) == 12 and len(second) == 0 and len(second.skipped) == 8


def test_a_selection_is_the_rows_in_their_order():
    index = arrays(X, Y, columns={"site": list(range(20))}).train.select(np.array([7, 2, 5]))
    assert np.array_equal(index.load().images[:, 0].numpy(), X[[7, 2, 5]])
    assert index.columns["site"] == ["7", "2", "5"] and index.reader.name(0) == "image 7"
    with pytest.raises(IndexError, match=r"0\.\.2"):
        index.load([3])


def test_the_cache_is_used_for_all_parts(tmp_path):
    index = arrays(X, Y).train.cached(tmp_path / "images")
    load_parts(index, PARTS, test_fraction=0.2, seed=0)
    again = load_parts(
        type(index)(index.labels, Damaged(index.reader, range(20)), 16, 1, cache=index.cache),
        PARTS,
        test_fraction=0.2,
        seed=0,
    )
    assert np.array_equal(again[0].images[:, 0].numpy(), X)
    assert read(tmp_path / "images", "another key", (1, 16, 16)) is None
