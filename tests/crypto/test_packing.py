"""The packing formula at its limits, and the arithmetic of fields. No SEAL here."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crypto.errors import ConfigOverflow, CryptoError, OpenFailed, OutOfRange
from crypto.packing import PRIME, SEEDED, Packing


def sigmas_below_half(bits: int, parties: int, masked: bool, fields: int) -> float:
    """The rule of the module's docstring, written again: standard deviations between the doubles'
    error and 1/2.
    """
    radix = parties * 2**bits
    part = (
        2 ** (math.ceil(math.log2(radix**fields)) - 1)
        if masked
        else sum(2 ** (bits - 1) * radix**i for i in range(fields))
    )
    terms = parties + masked
    if part * terms >= 2**58:
        return 0.0
    scale = math.floor(2**59 * (1 - 2**-10) / (math.sqrt(2) * part * max(2, terms)))
    sigma = math.sqrt((parties * 10.5 + terms / 12) * 2048) / scale if scale else math.inf
    return (0.5 - 14 * 2**-52 * part * terms) / sigma


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("parties", [1, 2, 3, 5, 16, 17, 64, 1000, 2**20])
def test_as_many_fields_as_twelve_sigmas_allow_and_no_more(parties: int, masked: bool) -> None:
    for bits in range(2, 33):
        admitted = [f for f in range(1, 30) if sigmas_below_half(bits, parties, masked, f) >= 12]
        if not admitted:
            with pytest.raises(
                ConfigOverflow, match=rf"bits = {bits} .*cohort of {parties}\b.*fewer bits"
            ):
                Packing(bits, parties, masked)
            continue
        packing = Packing(bits, parties, masked)
        assert packing.fields == max(admitted), packing
        assert packing.scale * math.sqrt(2) * packing.sum_limit < PRIME / 2, packing


def test_the_limit_of_what_is_admitted() -> None:
    assert Packing(16, 19, True).fields == 2
    assert Packing(16, 20, True).fields == 1
    # what a federation has unless told
    assert Packing(12, 5, True).fields == Packing(12, 5).fields == 3
    assert Packing(32, 2**9).fields == 1
    with pytest.raises(ConfigOverflow):
        Packing(32, 2**13)
    for bits, parties in ((1, 5), (33, 5), (16, 0), (16, 2**20 + 1)):
        with pytest.raises(ConfigOverflow):
            Packing(bits, parties)
    with pytest.raises(ConfigOverflow):
        Packing(16, 5, degree=2048)


@pytest.mark.parametrize("masked", [False, True])
def test_what_travels_costs_what_float32_costs(masked: bool) -> None:
    for parties in range(2, 17):
        packing = Packing(16, parties, masked)
        for length in (200_000, 250_001, 11_000_000):
            assert packing.ciphertexts(length) * packing.ciphertext_bytes <= 1.05 * 4 * length
            assert packing.ciphertexts(length) * packing.sum_bytes <= 2.1 * 4 * length
    for packing in (Packing(9 if masked else 10, 16, masked), Packing(10, 5, masked)):
        assert packing.ciphertexts(200_000) * packing.ciphertext_bytes <= 0.75 * 4 * 200_000


def test_two_packings_have_two_headers() -> None:
    packings = [Packing(b, n, m) for b in (8, 9, 16) for n in (2, 5, 16) for m in (False, True)]
    packings += [Packing(16, 5, degree=8192)]
    assert len({packing.header(SEEDED) for packing in packings}) == len(packings)


@st.composite
def summands(draw: st.DrawFn) -> tuple[Packing, np.ndarray]:
    packing = Packing(draw(st.integers(2, 20)), draw(st.integers(1, 12)), draw(st.booleans()))
    length = draw(st.integers(1, 40))
    half = 2 ** (packing.bits - 1)
    value = st.one_of(st.sampled_from([-half, -1, 0, half - 1]), st.integers(-half, half - 1))
    flat = draw(
        st.lists(value, min_size=packing.parties * length, max_size=packing.parties * length)
    )
    return packing, np.array(flat, np.int32).reshape(packing.parties, length)


@settings(deadline=None, max_examples=60)
@given(summands(), st.integers(0, 2**32))
def test_unpacking_the_sum_of_packed_parts_is_the_sum(
    case: tuple[Packing, np.ndarray], seed: int
) -> None:
    packing, values = case
    parts = [packing.pack(row) for row in values]
    masks = np.random.default_rng(seed).integers(
        0, 2**packing.modulus_bits, (len(parts), parts[0].size), np.int64
    )
    if packing.masked:
        parts = [packing.wrap(part + mask) for part, mask in zip(parts, masks, strict=True)]
    assert all(np.abs(part).max() <= packing.part_limit for part in parts)
    total = np.sum(parts, axis=0)
    assert np.abs(total).max() <= packing.sum_limit
    if packing.masked:
        total -= masks.sum(axis=0)
    assert np.array_equal(packing.unpack(total, values.shape[1]), values.sum(axis=0))


def test_a_negative_low_field_borrows_from_its_neighbour() -> None:
    packing = Packing(16, 5)
    parts = packing.pack(np.array([-1, 7], np.int32))
    assert parts.tolist() == [7 * (5 << 16) - 1]
    assert packing.unpack(parts, 2).tolist() == [-1, 7]


def test_a_masked_part_is_spread_over_the_whole_range() -> None:
    packing = Packing(16, 5, masked=True)
    masks = np.random.default_rng(3).integers(0, 2**packing.modulus_bits, 4096, np.int64)
    low, high = (
        packing.wrap(part + masks) for part in (np.full(4096, -(2**31)), np.full(4096, 2**31))
    )
    for part in (low, high):
        counts, _ = np.histogram(part, bins=8, range=(-packing.part_limit, packing.part_limit))
        assert counts.min() > 400


def test_values_and_sums_out_of_range_are_refused() -> None:
    packing = Packing(8, 3)
    for values in ([128], [-129]):
        with pytest.raises(OutOfRange):
            packing.pack(np.array(values, np.int32))
    for wrong in (np.zeros(3, np.int64), np.zeros((2, 2), np.int32), np.zeros(3, np.float32)):
        with pytest.raises(OutOfRange):
            packing.pack(wrong)
    for parts in (
        np.array([3 * 128 + 1]),
        np.array([packing.sum_limit + 1]),
        np.array([2**50]),
        np.zeros(2, np.int64),
    ):
        with pytest.raises(OpenFailed, match=r"^ciphertext refused$"):
            packing.unpack(parts, 1)


def test_payload_wants_size_header_and_words() -> None:
    packing = Packing(16, 5)
    words = np.full(4096, PRIME - 1, "<u8")
    good = packing.header(SEEDED) + words.tobytes() + bytes(64)
    assert packing.payload(good, SEEDED).nbytes == 8 * 4096 + 64
    words[4095] += 1
    for bad in (
        good[:-1],
        good + b"\0",
        b"x" + good[1:],
        packing.header(SEEDED) + words.tobytes() + bytes(64),
    ):
        with pytest.raises(CryptoError):
            packing.payload(bad, SEEDED)
