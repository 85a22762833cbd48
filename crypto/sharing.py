"""Shamir's secret sharing (Shamir 1979) of 32-byte secrets, modulo the prime p = 2^256 + 297.

p is the smallest prime above 2^256, so that every 32-byte secret is an element. Holder h gets the
value at x = h + 1; no holder gets the value at zero, which is the secret.
"""

import secrets
from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

from crypto.errors import SharingError

PRIME = 2**256 + 297
SECRET_BYTES = 32
SHARE_BYTES = 33
MAX_HOLDER = 2**31

Holder = TypeVar("Holder", bound=int)


def _check_holders(holders: Sequence[int], threshold: int) -> None:
    if not 1 <= threshold <= len(holders):
        raise SharingError(f"a threshold of {threshold} does not fit {len(holders)} holders")
    if len(set(holders)) != len(holders):
        raise SharingError("a holder is named twice")
    if any(not 0 <= holder < MAX_HOLDER for holder in holders):
        raise SharingError("a holder is a number from 0 to 2^31 - 1")


def split(
    secret: bytes,
    holders: Sequence[Holder],
    threshold: int,
    randbelow: Callable[[int], int] = secrets.randbelow,
) -> dict[Holder, bytes]:
    """Return one share of 33 bytes for each holder.

    Any `threshold` shares determine the secret; fewer are independent of it.

    `randbelow(n)` draws uniformly from 0..n-1 and is called threshold - 1 times, from the
    coefficient of x upwards. Raises SharingError for a secret that has not
    32 bytes and for a threshold or holders that do not fit.
    """
    if len(secret) != SECRET_BYTES:
        raise SharingError(f"a secret has {SECRET_BYTES} bytes, not {len(secret)}")
    _check_holders(holders, threshold)
    coefficients = [
        int.from_bytes(secret, "big"),
        *(randbelow(PRIME) for _ in range(threshold - 1)),
    ]
    shares = {}
    for holder in holders:
        value = 0
        for coefficient in reversed(coefficients):
            value = (value * (holder + 1) + coefficient) % PRIME
        shares[holder] = value.to_bytes(SHARE_BYTES, "big")
    return shares


def combine(shares: Mapping[Holder, bytes], threshold: int) -> bytes:
    """Return the 32-byte secret, by Lagrange interpolation at zero.

    Any 33-byte values below p lie on some polynomial, so the caller must check the result against
    something public.

    Args:
        shares: By holder. The `threshold` lowest holders' shares are used, all are checked.
        threshold: As at `split`.

    Raises:
        SharingError: If there are too few shares, a holder is out of range, a share has a wrong
            length or is not below p, or the result is not below 2^256.
    """
    _check_holders(list(shares), threshold)
    used = sorted(shares)[:threshold]
    points = [holder + 1 for holder in used]
    values = []
    # also those beyond the threshold: a malformed share is somebody's fault
    for holder, share in shares.items():
        if len(share) != SHARE_BYTES:
            raise SharingError(
                f"the share of holder {holder} has {len(share)} bytes instead of {SHARE_BYTES}"
            )
        if int.from_bytes(share, "big") >= PRIME:
            raise SharingError(f"the share of holder {holder} is not below the prime")
    values = [int.from_bytes(shares[holder], "big") for holder in used]

    # f(0) = product(x) * sum over i of y_i / (x_i * product over m != i of (x_m - x_i))
    everything = 1
    denominators = []
    for i, x in enumerate(points):
        everything = everything * x % PRIME
        denominator = x
        for m, other in enumerate(points):
            if m != i:
                denominator = denominator * (other - x) % PRIME
        denominators.append(denominator)
    total = sum(y * inverse for y, inverse in zip(values, _inverses(denominators), strict=True))
    secret = everything * total % PRIME
    if secret >= 2**256:
        raise SharingError("the shares do not give a 32-byte secret: at least one of them is wrong")
    return secret.to_bytes(SECRET_BYTES, "big")


def _inverses(values: Sequence[int]) -> list[int]:
    """Return the inverses of nonzero values modulo p with one exponentiation (Montgomery)."""
    prefix = [1]
    for value in values:
        prefix.append(prefix[-1] * value % PRIME)
    inverse = pow(prefix[-1], -1, PRIME)
    result = [0] * len(values)
    for i in range(len(values) - 1, -1, -1):
        result[i] = inverse * prefix[i] % PRIME
        inverse = inverse * values[i] % PRIME
    return result
