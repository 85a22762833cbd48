"""Counts in the vector: sums come back exactly, limbs stay in a quantised value's range."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crypto import limbs
from crypto.errors import OutOfRange

counts = st.lists(st.integers(0, 2**48 - 1), min_size=3, max_size=3)


@given(st.integers(2, 24) | st.just(0), st.lists(counts, min_size=1, max_size=8))
@settings(deadline=None, max_examples=100)
def test_the_sums_of_counts_come_back(bits: int, hospitals: list[list[int]]) -> None:
    encoded = [limbs.encode(one, bits) for one in hospitals]
    top = 2**11 if bits == 0 else 2 ** (bits - 1)
    assert all(
        len(one) == 3 * limbs.limbs_needed(bits) and one.min() >= 0 and one.max() < top
        for one in encoded
    )
    total = np.sum(encoded, axis=0)
    assert limbs.decode(total, bits, 3) == [sum(column) for column in zip(*hospitals, strict=True)]


def test_float32_holds_the_limbs_of_4096_hospitals() -> None:
    one = limbs.encode([2**48 - 1], 0).astype(np.float32)
    total = np.zeros_like(one)
    for _ in range(4096):
        total += one
    assert limbs.decode(total, 0, 1) == [4096 * (2**48 - 1)]


@pytest.mark.parametrize("count", [-1, 2**48])
def test_a_count_out_of_range_is_refused(count: int) -> None:
    with pytest.raises(OutOfRange):
        limbs.encode([0, count], 12)


@pytest.mark.parametrize("wrong", [-1, 0.5, float("nan"), float("inf")])
def test_a_limb_that_no_counts_sum_to_is_refused(wrong: float) -> None:
    sums = limbs.encode([3, 4], 12).astype(np.float64)
    sums[1] = wrong
    with pytest.raises(OutOfRange):
        limbs.decode(sums, 12, 2)


def test_another_number_of_limbs_is_refused() -> None:
    with pytest.raises(OutOfRange):
        limbs.decode(limbs.encode([3, 4], 12)[:-1], 12, 2)
    with pytest.raises(OutOfRange):
        limbs.limbs_needed(1)
