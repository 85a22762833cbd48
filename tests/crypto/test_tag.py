"""The aggregate's tag: linear, bound to key, context and survivors, and broken by any change of the
sum.
"""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crypto import tag
from crypto.errors import CryptoError, OutOfRange
from crypto.keystream import Stream

KEY, CONTEXT = bytes(range(32)), b"run 1, round 2"
M = tag.MODULUS


def vectors(hospitals: int, count: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(-2047, 2048, (hospitals, count), np.int32)


@given(st.integers(1, 6), st.integers(1, 50), st.integers(0, 2**32))
@settings(deadline=None, max_examples=50)
def test_the_tags_add_up_to_the_tag_of_the_sum(hospitals: int, count: int, seed: int) -> None:
    xs = vectors(hospitals, count, seed)
    total = sum(tag.tag(KEY, CONTEXT, i, x) for i, x in enumerate(xs)) % M
    assert total == tag.expected(KEY, CONTEXT, range(hospitals), xs.sum(axis=0))


def test_the_tag_is_the_sum_that_its_definition_says() -> None:
    x = vectors(1, 100)[0]
    r = np.empty(100, "<u8")
    Stream(tag.derive(KEY, "tag-r", CONTEXT)).read_into(r.view(np.uint8))
    plain = sum(int(a) * int(b) for a, b in zip(r, x, strict=True))
    assert (tag.tag(KEY, CONTEXT, "A", x) - plain - tag.tag(KEY, CONTEXT, "A", x[:0])) % M == 0


def test_a_vector_longer_than_a_chunk_and_one_in_pieces_have_the_same_tag() -> None:
    x = vectors(1, 100_003)[0]
    tagger = tag.Tagger(KEY, CONTEXT)
    for piece in np.split(x, [1, 40_000, 40_001]):
        tagger.update(piece)
    assert (
        tagger.tag(4) == tag.tag(KEY, CONTEXT, 4, x) == tag.tag(KEY, CONTEXT, 4, x.astype(np.int64))
    )


@given(st.integers(0, 19), st.integers(-(2**31) + 2047 * 3 + 1, 2**31 - 2047 * 3 - 1).filter(bool))
@settings(deadline=None, max_examples=100)
def test_a_sum_that_was_changed_anywhere_is_noticed(position: int, change: int) -> None:
    xs = vectors(3, 20)
    total = sum(tag.tag(KEY, CONTEXT, i, x) for i, x in enumerate(xs)) % M
    forged = xs.sum(axis=0)
    forged[position] += change
    assert tag.expected(KEY, CONTEXT, [0, 1, 2], forged) != total


def test_twice_one_update_or_a_sum_without_a_survivor_is_noticed() -> None:
    xs = vectors(3, 20)
    total = sum(tag.tag(KEY, CONTEXT, i, x) for i, x in enumerate(xs)) % M
    for forged in (xs[0] + xs[1] + xs[1], xs[0] + xs[1], np.zeros(20, np.int32), 2 * xs[0]):
        assert tag.expected(KEY, CONTEXT, [0, 1, 2], forged) != total
        assert tag.expected(KEY, CONTEXT, [0, 1], forged) != total


def test_key_context_and_hospital_bind_the_tag() -> None:
    x = vectors(1, 20)[0]
    tags = {
        tag.tag(KEY, CONTEXT, 1, x),
        tag.tag(KEY, CONTEXT, 2, x),
        tag.tag(KEY, CONTEXT, "1", x),
        tag.tag(KEY, b"run 1, round 3", 1, x),
        tag.tag(bytes(32), CONTEXT, 1, x),
    }
    assert len(tags) == 5
    # the pad alone depends on all of them too, so that a tag tells nothing about its vector
    zero = np.zeros(20, np.int32)
    assert (
        len(
            {
                tag.tag(KEY, CONTEXT, 1, zero),
                tag.tag(KEY, CONTEXT, 2, zero),
                tag.tag(KEY, b"other", 1, zero),
            }
        )
        == 3
    )


def test_a_change_by_a_power_of_two_moves_the_tag_by_its_multiples_only() -> None:
    """The soundness argument: a change of 2^v leaves 2^(64 - v) possible tags, and over contexts
    they do occur.
    """
    x, changed = np.zeros(1, np.int64), np.array([1 << 30])
    moves = {
        (tag.tag(KEY, bytes([c]), 1, changed) - tag.tag(KEY, bytes([c]), 1, x)) % M
        for c in range(64)
    }
    assert all(move % (1 << 30) == 0 for move in moves)
    assert len(moves) == 64


@pytest.mark.parametrize("value", [2**31, -(2**31), 2**40])
def test_an_integer_beyond_the_argument_s_range_is_refused(value: int) -> None:
    with pytest.raises(OutOfRange):
        tag.tag(KEY, CONTEXT, 1, np.array([0, value], np.int64))


def test_other_inputs_are_refused() -> None:
    for x in (np.zeros(3), np.zeros((2, 2), np.int32)):
        with pytest.raises(OutOfRange):
            tag.tag(KEY, CONTEXT, 1, x)
    with pytest.raises(CryptoError):
        tag.Tagger(b"short", CONTEXT)
