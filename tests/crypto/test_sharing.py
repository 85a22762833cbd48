"""Shamir's sharing: any threshold shares give the secret, fewer give nothing, wrong ones are
refused.
"""

import contextlib
import itertools
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crypto import sharing
from crypto.errors import SharingError

SECRET = bytes(range(32))


@given(
    st.data(),
    st.binary(min_size=32, max_size=32),
    st.sets(st.integers(0, 2**31 - 1), min_size=1, max_size=12),
)
@settings(deadline=None, max_examples=60)
def test_any_threshold_of_the_shares_give_the_secret(
    data: st.DataObject, secret: bytes, holders: set[int]
) -> None:
    threshold = data.draw(st.integers(1, len(holders)))
    shares = sharing.split(secret, sorted(holders), threshold)
    assert {len(share) for share in shares.values()} == {sharing.SHARE_BYTES}
    chosen = data.draw(st.sets(st.sampled_from(sorted(holders)), min_size=threshold))
    assert sharing.combine({holder: shares[holder] for holder in chosen}, threshold) == secret


@pytest.mark.parametrize("secret", [bytes(32), b"\xff" * 32])
def test_the_smallest_and_the_largest_secret(secret: bytes) -> None:
    assert sharing.combine(sharing.split(secret, range(5), 4), 4) == secret


def test_a_hundred_holders_with_a_threshold_of_seventy() -> None:
    shares = sharing.split(SECRET, range(100), 70)
    late = {holder: shares[holder] for holder in range(30, 100)}
    assert sharing.combine(late, 70) == SECRET


def test_fewer_shares_than_the_threshold_fit_every_secret() -> None:
    """Perfect secrecy: two shares of a threshold of three, with any third value, give some secret,
    each a different one.
    """
    shares = sharing.split(SECRET, [0, 1, 2], 3)
    results = {
        sharing.combine({**shares, 2: value.to_bytes(33, "big")}, 3)
        for value in range(1, 2**40, 2**36)
    }
    assert len(results) == 16


def test_the_shares_lie_on_a_polynomial_whose_value_at_zero_is_the_secret() -> None:
    coefficients = iter([5, 7])
    shares = sharing.split((11).to_bytes(32, "big"), [0, 3, 9], 3, lambda below: next(coefficients))
    assert {holder: int.from_bytes(share, "big") for holder, share in shares.items()} == {
        holder: 11 + 5 * x + 7 * x * x for holder, x in ((0, 1), (3, 4), (9, 10))
    }


def test_coefficients_are_drawn_from_the_whole_field_and_afresh() -> None:
    asked: list[int] = []
    generator = random.Random(1)

    def draw(below: int) -> int:
        asked.append(below)
        return generator.randrange(below)

    sharing.split(SECRET, range(4), 3, draw)
    assert asked == [sharing.PRIME, sharing.PRIME]
    assert sharing.split(SECRET, range(4), 3) != sharing.split(SECRET, range(4), 3)


def test_the_modulus_is_a_prime_just_above_2_256() -> None:
    p = sharing.PRIME
    assert 0 < p - 2**256 < 300
    odd, twos = p - 1, 0
    while odd % 2 == 0:
        odd, twos = odd // 2, twos + 1
    for base in (2, 3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37):  # Miller-Rabin
        power = pow(base, odd, p)
        assert power in (1, p - 1) or any(pow(power, 2**k, p) == p - 1 for k in range(1, twos))


def test_too_few_shares_are_refused() -> None:
    shares = sharing.split(SECRET, range(5), 4)
    for some in itertools.combinations(shares, 3):
        with pytest.raises(SharingError):
            sharing.combine({holder: shares[holder] for holder in some}, 4)


@pytest.mark.parametrize(
    "share", [b"", bytes(32), bytes(34), sharing.PRIME.to_bytes(33, "big"), b"\xff" * 33]
)
def test_a_share_that_is_no_field_element_is_refused_and_its_holder_named(share: bytes) -> None:
    shares = sharing.split(SECRET, range(5), 3)
    for holder in (2, 4):  # one that would be used, one beyond the threshold
        with pytest.raises(SharingError, match=f"holder {holder}"):
            sharing.combine({**shares, holder: share}, 3)


def test_a_result_beyond_32_bytes_is_refused() -> None:
    with pytest.raises(SharingError, match="32-byte"):
        sharing.combine({0: (2**256).to_bytes(33, "big")}, 1)


def test_a_wrong_share_gives_another_secret_or_none() -> None:
    shares = sharing.split(SECRET, range(3), 3)
    broken = (int.from_bytes(shares[1], "big") ^ 1).to_bytes(33, "big")
    with contextlib.suppress(SharingError):
        assert sharing.combine({**shares, 1: broken}, 3) != SECRET


@pytest.mark.parametrize(
    ("secret", "holders", "threshold"),
    [
        (bytes(31), [0, 1], 2),
        (bytes(33), [0, 1], 2),
        (SECRET, [0, 1], 3),
        (SECRET, [0, 1], 0),
        (SECRET, [1, 1, 2], 2),
        (SECRET, [-1, 1], 2),
        (SECRET, [1, 2**31], 2),
    ],
)
def test_what_cannot_be_shared_is_refused(
    secret: bytes, holders: list[int], threshold: int
) -> None:
    with pytest.raises(SharingError):
        sharing.split(secret, holders, threshold)


def test_a_holder_at_the_secret_s_own_place_is_refused() -> None:
    with pytest.raises(SharingError):
        sharing.combine({-1: bytes(33), 0: bytes(33)}, 2)
