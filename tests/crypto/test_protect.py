"""The fused protection gives the bytes that its steps give one after another."""

import numpy as np
import pytest

from crypto import keystream, limbs, tag
from crypto.errors import OutOfRange
from crypto.fixedpoint import FixedPoint
from crypto.kdf import derive
from crypto.keystream import CHUNK
from crypto.protect import quantise_and_mask
from crypto.ring import Ring

KEY = bytes(range(32))
STREAMS = [(derive(KEY, "stream", i), sign) for i, sign in enumerate((1, -1, 1, 1))]
COUNTS = [1234, 0, 2**48 - 1]


def update_of(d: int) -> np.ndarray:
    return np.random.default_rng(d).normal(size=d).astype(np.float32)


def step_by_step(
    update: np.ndarray, clip: object, fixed: FixedPoint, lengths: list[int] | None
) -> tuple[bytes, int, np.ndarray]:
    values, clipped = fixed.quantise(update, clip, KEY, lengths)  # type: ignore[arg-type]
    integers = np.concatenate([values, limbs.encode([*COUNTS, clipped], fixed.bits)])
    ring = Ring(fixed.ring)
    vector = integers.astype(np.int64).astype(ring.dtype)
    ring.reduce(vector)
    keystream.apply(vector, STREAMS, ring)
    return bytes(ring.to_wire(vector)), clipped, integers


@pytest.mark.parametrize("bits_and_ring", [(12, 16), (20, 24), (16, 32), (24, 64)])
@pytest.mark.parametrize("d", [0, 1, 77, CHUNK - 3, CHUNK, CHUNK + 1, 2 * CHUNK + 11])
def test_one_pass_equals_the_steps(bits_and_ring: tuple[int, int], d: int) -> None:
    fixed, update = FixedPoint(*bits_and_ring, 5), update_of(d)
    lengths, clip = [d // 3, d - d // 3], [2.0, 1.5]
    wire, clipped, integers = step_by_step(update, clip, fixed, lengths)
    tagger = tag.Tagger(KEY, b"context")
    protected = quantise_and_mask(
        update, clip, fixed, KEY, STREAMS, lengths=lengths, counts=COUNTS, tagger=tagger
    )
    assert bytes(protected.wire) == wire
    assert protected.clipped == clipped
    assert d < 77 or clipped > 0
    assert tagger.tag(2) == tag.tag(KEY, b"context", 2, integers)


@pytest.mark.parametrize("bits_and_ring", [(12, 16), (20, 24), (16, 32)])
def test_the_wire_may_take_the_place_of_the_update(bits_and_ring: tuple[int, int]) -> None:
    d, fixed = 2 * CHUNK + 11, FixedPoint(*bits_and_ring, 5)
    wire, _, integers = step_by_step(update_of(d), 2.0, fixed, None)
    room = np.empty(len(integers), np.float32)
    update = room[:d]
    update[:] = update_of(d)
    out = room.view(np.uint8)[: len(wire)]
    assert (
        bytes(quantise_and_mask(update, 2.0, fixed, KEY, STREAMS, counts=COUNTS, out=out).wire)
        == wire
    )


def test_an_out_that_would_be_read_after_it_was_written_or_does_not_fit_is_refused() -> None:
    room = np.zeros(3000, np.float32)
    size = 4 * (2000 + 4 * limbs.limbs_needed(16))
    cases = [
        (room[1:2001], room.view(np.uint8)[:size], FixedPoint(16, 32, 5)),
        (room[:2000], room.view(np.uint8)[: 2 * size], FixedPoint(16, 64, 5)),
        (room[:2000].copy(), np.zeros(size + 1, np.uint8), FixedPoint(16, 32, 5)),
        (room[:2000].copy(), np.zeros(size, np.int8), FixedPoint(16, 32, 5)),
    ]
    for update, out, fixed in cases:
        with pytest.raises(OutOfRange):
            quantise_and_mask(update, 1.0, fixed, KEY, STREAMS, counts=COUNTS, out=out)


def test_five_hospitals_sum_to_the_sum_of_their_integers_and_counts() -> None:
    d, hospitals, fixed, ring = CHUNK + 100, 5, FixedPoint(12, 16, 5), Ring(16)
    needed = 4 * limbs.limbs_needed(fixed.bits)
    total, plain = np.zeros(d + needed, ring.dtype), np.zeros(d, np.int64)
    for i in range(hospitals):
        streams = [
            (derive(KEY, min(i, j).__str__(), max(i, j)), 1 if i < j else -1)
            for j in range(hospitals)
            if j != i
        ]
        update = update_of(d) * np.float32(0.1 * (i + 1))
        ring.add_into(
            total, quantise_and_mask(update, 1.0, fixed, KEY, streams, counts=[i, 10 * i, 1]).wire
        )
        plain += fixed.quantise(update, 1.0, KEY)[0]
    signed = ring.signed(total)
    fixed.check_sum(signed[:d], hospitals)
    assert np.array_equal(signed[:d], plain)
    assert limbs.decode(signed[d:], fixed.bits, 4)[:3] == [10, 100, 5]


def test_the_masked_bytes_look_like_none_of_the_values() -> None:
    """All the ones a hospital could send give bytes as uniform as zeros do (chi-squared, fixed
    keys).
    """
    fixed = FixedPoint(12, 16, 5)
    for value in (0.0, 1.0):
        wire = quantise_and_mask(np.full(CHUNK, value, np.float32), 1.0, fixed, KEY, STREAMS).wire
        seen = np.bincount(np.frombuffer(wire, np.uint8), minlength=256)
        mean = len(wire) / 256
        assert ((seen - mean) ** 2 / mean).sum() < 408


def test_what_the_owner_must_refuse_is_refused() -> None:
    fixed = FixedPoint(12, 16, 5)
    for update, counts in (
        (np.array([np.nan], np.float32), COUNTS),
        (np.zeros(3), COUNTS),
        (np.zeros(3, np.float32), [-1]),
        (np.zeros(3, np.float32), [2**48]),
    ):
        with pytest.raises(OutOfRange):
            quantise_and_mask(update, 1.0, fixed, KEY, STREAMS, counts=counts)
