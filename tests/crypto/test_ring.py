"""Ring elements on the wire: exact lengths, exact sums, the signed reading."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crypto.errors import ConfigOverflow, OutOfRange
from crypto.ring import BLOCK, Ring

RINGS = [16, 24, 32, 64]
LENGTHS = [0, 1, 2, 3, 4, 5, 7, 8, 1001, BLOCK - 1, BLOCK, BLOCK + 1, 2 * BLOCK + 6]


def elements(ring: Ring, count: int, seed: int = 0) -> np.ndarray:
    words = np.random.default_rng(seed).integers(0, 2**64, count, np.uint64, endpoint=False)
    return (words >> np.uint64(64 - ring.bits)).astype(ring.dtype)


@pytest.mark.parametrize("bits", RINGS)
@pytest.mark.parametrize("count", LENGTHS)
def test_the_wire_takes_exactly_its_bytes_and_gives_the_elements_back(
    bits: int, count: int
) -> None:
    ring = Ring(bits)
    array = elements(ring, count)
    wire = ring.to_wire(array)
    assert len(wire) == count * bits // 8
    assert np.array_equal(ring.from_wire(wire, count), array)


@pytest.mark.parametrize("bits", RINGS)
@given(st.lists(st.integers(0, 2**64 - 1), max_size=13), st.integers(1, 5))
@settings(deadline=None, max_examples=30)
def test_adding_wires_is_addition_modulo_the_ring(bits: int, values: list[int], times: int) -> None:
    ring = Ring(bits)
    array = np.array([value % ring.modulus for value in values], ring.dtype)
    total = np.zeros(len(array), ring.dtype)
    for _ in range(times):
        ring.add_into(total, ring.to_wire(array))
    ring.reduce(total)
    assert total.tolist() == [value * times % ring.modulus for value in values]


def test_a_sum_of_24_bit_vectors_longer_than_a_block_is_exact() -> None:
    ring, count = Ring(24), 2 * BLOCK + 7
    arrays = [elements(ring, count, seed) for seed in range(4)]
    total = np.zeros(count, ring.dtype)
    for array in arrays:
        ring.add_into(total, ring.to_wire(array))
    ring.reduce(total)
    assert np.array_equal(total, sum(array.astype(np.uint64) for array in arrays) % ring.modulus)


def test_24_bit_slices_of_whole_blocks_stand_alone() -> None:
    ring = Ring(24)
    array = elements(ring, 2 * BLOCK + 5)
    wire = ring.to_wire(array)
    assert np.array_equal(
        ring.from_wire(wire[3 * BLOCK : 6 * BLOCK], BLOCK), array[BLOCK : 2 * BLOCK]
    )


def test_24_bit_wires_hold_nothing_of_the_top_bytes_in_memory() -> None:
    ring = Ring(24)
    array = elements(ring, 1003)
    dirty = array | np.uint32(0xAB000000)
    assert ring.to_wire(dirty) == ring.to_wire(array)


@pytest.mark.parametrize("bits", [16, 32, 64])
def test_no_copy_is_made_where_memory_is_the_wire(bits: int) -> None:
    ring = Ring(bits)
    array = elements(ring, 10)
    assert np.shares_memory(np.frombuffer(ring.to_wire(array), np.uint8), array)
    assert np.shares_memory(ring.from_wire(ring.to_wire(array), 10), array)


@pytest.mark.parametrize("bits", RINGS)
def test_the_signed_reading(bits: int) -> None:
    ring, half = Ring(bits), 1 << (bits - 1)
    array = np.array([0, 1, half - 1, half, ring.modulus - 1], ring.dtype)
    assert ring.signed(array).tolist() == [0, 1, half - 1, -half, -1]
    assert ring.signed(array).dtype == (np.int64 if bits == 64 else np.int32)


@pytest.mark.parametrize("bits", RINGS)
@pytest.mark.parametrize("extra", [-1, 1, 8])
def test_a_buffer_of_another_length_is_refused_and_adds_nothing(bits: int, extra: int) -> None:
    ring = Ring(bits)
    total = elements(ring, 9)
    before = total.copy()
    wrong = bytes(9 * ring.wire_bytes + extra)
    with pytest.raises(OutOfRange):
        ring.from_wire(wrong, 9)
    with pytest.raises(OutOfRange):
        ring.add_into(total, wrong)
    assert np.array_equal(total, before)


@pytest.mark.parametrize(
    "array", [np.zeros(3, np.int32), np.zeros((2, 2), np.uint32), np.zeros(8, np.uint32)[::2]]
)
def test_an_array_of_another_kind_is_refused(array: np.ndarray) -> None:
    with pytest.raises(OutOfRange):
        Ring(32).to_wire(array)


@pytest.mark.parametrize("bits", [0, 8, 31, 33, 128])
def test_other_rings_do_not_exist(bits: int) -> None:
    with pytest.raises(ConfigOverflow):
        Ring(bits)
