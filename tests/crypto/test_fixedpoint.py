"""Quantisation: unbiased, at most a step off, exact on the grid, the same bytes for the same key;
no sum can wrap.
"""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crypto.errors import ConfigOverflow, OutOfRange
from crypto.fixedpoint import FixedPoint
from crypto.kdf import derive
from crypto.keystream import CHUNK

KEY = bytes(range(32))
clips = st.floats(2**-20, 2**20, width=32)


def steps(values: np.ndarray, clip: float, fixed: FixedPoint) -> np.ndarray:
    return values.astype(np.float64) / np.float64(np.float32(clip)) * fixed.levels


@given(st.integers(2, 24), clips, st.integers(0, 2**32))
@settings(deadline=None, max_examples=60)
def test_the_error_is_less_than_a_step(bits: int, clip: float, seed: int) -> None:
    fixed = FixedPoint(bits, 32, 5)
    values = (np.random.default_rng(seed).uniform(-1, 1, 500) * clip).astype(np.float32)
    quantised, clipped = fixed.quantise(values, clip, KEY)
    exact = steps(values, clip, fixed)
    assert quantised.dtype == np.int32
    assert np.abs(quantised).max() <= fixed.levels
    assert (np.abs(quantised - exact) < 1 + 2**-8 + np.abs(exact) * 5 * 2**-24).all()
    assert clipped == np.count_nonzero(np.abs(values) > np.float32(clip))


@given(st.integers(2, 13), clips)
@settings(deadline=None, max_examples=40)
def test_a_value_on_the_grid_stays_what_it_is(bits: int, clip: float) -> None:
    fixed = FixedPoint(bits, 16, 2)
    grid = np.arange(-fixed.levels, fixed.levels + 1, dtype=np.int32)
    values = fixed.dequantise_mean(grid, clip, 1)
    for key in (KEY, derive(KEY, "another")):
        again, clipped = fixed.quantise(
            np.clip(values, -np.float32(clip), np.float32(clip)), clip, key
        )
        assert np.array_equal(again, grid)
        assert clipped == 0


@pytest.mark.parametrize("value", [0.0, 0.3, -0.3, 0.5, -2.71, 6.999, -7.0])
def test_the_rounding_is_unbiased(value: float) -> None:
    """400,000 roundings: the mean is within five standard errors, plus the documented 1/512 of a
    step. The key is fixed.
    """
    fixed, count = FixedPoint(4, 16, 5), 400_000
    quantised, _ = fixed.quantise(np.full(count, value, np.float32), 7.0, KEY)
    assert set(np.unique(quantised)) <= {np.floor(value), np.ceil(value)}
    assert abs(quantised.mean() - value) < 5 * 0.5 / np.sqrt(count) + 1 / 512


def test_neighbours_are_rounded_independently() -> None:
    quantised, _ = FixedPoint(4, 16, 5).quantise(np.full(200_000, 0.5, np.float32), 7.0, KEY)
    noise = quantised - 0.5
    for lag in (1, 2, 16, 64):
        assert abs((noise[lag:] * noise[:-lag]).mean()) < 5 * 0.25 / np.sqrt(200_000)


def test_the_same_key_gives_the_same_integers_another_key_others() -> None:
    fixed, values = (
        FixedPoint(12, 16, 5),
        np.random.default_rng(0).normal(size=1000).astype(np.float32),
    )
    one, _ = fixed.quantise(values, 3.0, KEY)
    assert np.array_equal(one, fixed.quantise(values, 3.0, KEY)[0])
    assert not np.array_equal(one, fixed.quantise(values, 3.0, derive(KEY, "another"))[0])


def test_what_lies_outside_the_clip_is_moved_to_it_and_counted() -> None:
    fixed = FixedPoint(8, 16, 5)
    values = np.array([0.5, 0.50001, -0.6, -0.5, 1e30, -3e38, 0.0], np.float32)
    quantised, clipped = fixed.quantise(values, 0.5, KEY)
    assert clipped == 4
    assert quantised.tolist() == [127, 127, -127, -127, 127, -127, 0]


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("position", [0, CHUNK - 1, CHUNK, CHUNK + 6])
def test_nan_and_infinity_are_refused(bad: float, position: int) -> None:
    values = np.zeros(CHUNK + 7, np.float32)
    values[position] = bad
    with pytest.raises(OutOfRange, match="NaN"):
        FixedPoint(8, 16, 5).quantise(values, 1.0, KEY)


def test_a_clip_for_each_tensor() -> None:
    lengths, per_tensor = [3, 0, CHUNK, 1, 5], [1.0, 9.0, 2.0, 0.25, 2.0]
    fixed = FixedPoint(12, 16, 5)
    values = np.random.default_rng(1).normal(size=sum(lengths)).astype(np.float32)
    whole, clipped = fixed.quantise(values, per_tensor, KEY, lengths)
    each = np.repeat(np.array(per_tensor), lengths)
    exact = np.clip(values, -each, each) / each * fixed.levels
    assert (np.abs(whole - exact) < 1.01).all()
    assert clipped == np.count_nonzero(np.abs(values) > each)
    back = fixed.dequantise_mean(whole, per_tensor, 1, lengths)
    assert (np.abs(back - np.clip(values, -each, each)) < 1.01 * each / fixed.levels).all()
    assert np.array_equal(
        fixed.quantise(values, 1.5, KEY)[0], fixed.quantise(values, [1.5] * 5, KEY, lengths)[0]
    )


@pytest.mark.parametrize(
    ("clip", "lengths"),
    [
        (0.0, None),
        (-1.0, None),
        (np.nan, None),
        (np.inf, None),
        ([1.0, 1.0], None),
        ([1.0, 2.0], [3, 6]),
        ([1.0], [9]),
        ([1.0, 2.0], [11, -1]),
        ([[1.0], [2.0]], [5, 5]),
        ([1.0, 0.0], [5, 5]),
    ],
)
def test_clips_that_do_not_fit_are_refused(clip: object, lengths: list[int] | None) -> None:
    with pytest.raises(OutOfRange):
        FixedPoint(8, 16, 5).quantise(np.zeros(10, np.float32), clip, KEY, lengths)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "values", [np.zeros(4), np.zeros((2, 2), np.float32), np.zeros(8, np.float32)[::2]]
)
def test_an_update_of_another_kind_is_refused(values: np.ndarray) -> None:
    with pytest.raises(OutOfRange):
        FixedPoint(8, 16, 5).quantise(values, 1.0, KEY)


@given(st.integers(2, 24), st.sampled_from([16, 24, 32]), st.integers(1, 5000))
@settings(deadline=None, max_examples=200)
def test_a_ring_that_the_sum_could_leave_is_refused(bits: int, ring: int, parties: int) -> None:
    fits = (
        parties * (2 ** (bits - 1) - 1) < 2 ** (ring - 1)
        if bits > 2
        else parties <= 2 ** (ring - 2)
    )
    if ring >= bits + (parties - 1).bit_length():
        assert fits
        FixedPoint(bits, ring, parties)
    else:
        with pytest.raises(ConfigOverflow):
            FixedPoint(bits, ring, parties)


@pytest.mark.parametrize(
    ("bits", "ring", "parties"), [(1, 16, 2), (25, 32, 2), (0, 16, 2), (8, 16, 0), (8, 20, 2)]
)
def test_what_is_no_fixed_point_is_refused(bits: int, ring: int, parties: int) -> None:
    with pytest.raises(ConfigOverflow):
        FixedPoint(bits, ring, parties)


def test_a_sum_that_honest_hospitals_cannot_have_is_refused() -> None:
    fixed = FixedPoint(8, 16, 5)
    fixed.check_sum(np.array([3 * 127, -3 * 127, 0]), 3)
    fixed.check_sum(np.array([], np.int32), 3)
    for wrong in (3 * 127 + 1, -3 * 127 - 1):
        with pytest.raises(OutOfRange):
            fixed.check_sum(np.array([0, wrong], np.int32), 3)


def test_the_mean() -> None:
    fixed = FixedPoint(8, 16, 5)
    mean = fixed.dequantise_mean(np.array([127 * 4, -127, 0], np.int32), 0.5, 4)
    assert mean.dtype == np.float32
    assert mean.tolist() == [0.5, -0.125, 0.0]
    for weight in (0, -1, float("nan"), float("inf")):
        with pytest.raises(OutOfRange):
            fixed.dequantise_mean(np.zeros(3, np.int32), 0.5, weight)
