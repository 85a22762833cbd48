"""Masks: they cancel exactly, are uniform, use the whole key, and do not depend on how the work is
cut into chunks.
"""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crypto import keystream
from crypto.errors import CryptoError, OutOfRange
from crypto.kdf import derive
from crypto.keystream import CHUNK
from crypto.ring import Ring

RINGS = [16, 24, 32, 64]


def key(*name: int) -> bytes:
    return derive(b"test", "key", *name)


def mask(ring: Ring, count: int, one_key: bytes) -> np.ndarray:
    vector = np.zeros(count, ring.dtype)
    keystream.apply(vector, [(one_key, 1)], ring)
    ring.reduce(vector)
    return vector


@pytest.mark.parametrize("bits", RINGS)
@given(st.integers(2, 6), st.integers(1, 40), st.integers(0, 2**32))
@settings(deadline=None, max_examples=20)
def test_pairwise_masks_cancel_exactly_in_the_sum(
    bits: int, hospitals: int, count: int, seed: int
) -> None:
    ring = Ring(bits)
    words = np.random.default_rng(seed).integers(0, 2**63, (hospitals, count))
    vectors = (words % ring.modulus if bits < 64 else words).astype(ring.dtype)
    total = np.zeros(count, ring.dtype)
    for i, vector in enumerate(vectors):
        masked = vector.copy()
        streams = [
            (key(min(i, j), max(i, j), seed), 1 if i < j else -1)
            for j in range(hospitals)
            if j != i
        ]
        keystream.apply(masked, streams, ring)
        ring.reduce(masked)
        assert count < 8 or not np.array_equal(masked, vector)
        ring.add_into(total, ring.to_wire(masked))
    ring.reduce(total)
    plain = vectors.sum(axis=0, dtype=np.uint64)
    assert np.array_equal(
        total.astype(np.uint64), plain % np.uint64(ring.modulus) if bits < 64 else plain
    )


@pytest.mark.parametrize("bits", RINGS)
@pytest.mark.parametrize("count", [1, CHUNK - 1, CHUNK, CHUNK + 1, 3 * CHUNK + 5])
def test_the_mask_of_a_long_vector_is_the_stream_s_words_in_one_piece(
    bits: int, count: int
) -> None:
    ring = Ring(bits)
    words = np.empty(count, ring.dtype)
    keystream.Stream(key(1)).read_into(words.view(np.uint8))
    ring.reduce(words)
    assert np.array_equal(mask(ring, count, key(1)), words)


@pytest.mark.parametrize("bits", RINGS)
def test_a_shorter_vector_has_the_beginning_of_the_same_mask(bits: int) -> None:
    ring = Ring(bits)
    assert np.array_equal(mask(ring, CHUNK + 10, key(2))[:100], mask(ring, 100, key(2)))


@pytest.mark.parametrize("bits", RINGS)
def test_adding_and_subtracting_a_mask_leaves_the_vector_as_it_was(bits: int) -> None:
    ring = Ring(bits)
    vector = mask(ring, CHUNK + 3, key(3))
    before = vector.copy()
    keystream.apply(vector, [(key(4), 1), (key(5), -1)], ring)
    keystream.apply(vector, [(key(5), 1), (key(4), -1)], ring)
    ring.reduce(vector)
    assert np.array_equal(vector, before)


@pytest.mark.parametrize("bit", range(0, 256, 5))
def test_every_bit_of_the_key_counts(bit: int) -> None:
    """A generator that folds its key to 32 bits gives equal masks for different keys."""
    other = bytearray(key(6))
    other[bit // 8] ^= 1 << (bit % 8)
    ring = Ring(32)
    assert not np.array_equal(mask(ring, 8, key(6)), mask(ring, 8, bytes(other)))


@pytest.mark.parametrize("bits", RINGS)
def test_every_byte_of_the_elements_is_uniform_up_to_its_top_value(bits: int) -> None:
    """Chi-squared over 256 values; the 1 - 1e-9 quantile for 255 degrees of freedom is about 408.
    The key is fixed.
    """
    ring, count = Ring(bits), 1 << 16
    elements = mask(ring, count, key(7))
    for byte in range(bits // 8):
        seen = np.bincount(
            (elements >> np.asarray(8 * byte, ring.dtype)).astype(np.uint8), minlength=256
        )
        assert ((seen - count / 256) ** 2 / (count / 256)).sum() < 408


def test_a_short_key_or_a_strange_sign_is_refused() -> None:
    ring, vector = Ring(32), np.zeros(4, np.uint32)
    for streams in ([(b"short", 1)], [(key(1), 0)], [(key(1), 2)], [(key(1) + b"\0", 1)]):
        with pytest.raises(CryptoError):
            keystream.apply(vector, streams, ring)
    assert not vector.any()


@pytest.mark.parametrize("dtype", [np.uint64, np.int32, np.float32, np.uint16])
def test_elements_that_would_not_wrap_with_the_ring_are_refused(dtype: type) -> None:
    """In a wider type the sum of value and mask does not wrap, and tells about the value."""
    with pytest.raises(OutOfRange):
        keystream.apply(np.zeros(4, dtype), [(key(1), 1)], Ring(32))
