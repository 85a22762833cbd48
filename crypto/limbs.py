"""Counts as limbs: small digits that are masked and summed at the end of the quantised vector.

A count is written in base 2^(bits - 1), least digit first, so that every limb lies in 0..2^(bits -
1) - 1, the range of a quantised value; a ring that holds the sum of values also holds the sum of
limbs. Limbs are summed without carrying; `decode` carries.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from crypto.errors import OutOfRange

COUNT_BITS = 48  # a count is below 2^48
# unquantised: the sum of 4096 limbs below 2^11 stays below 2^23, where float32 is exact
_FLOAT_BASE_BITS = 11


def _base_bits(bits: int) -> int:
    if bits == 0:
        return _FLOAT_BASE_BITS
    if bits < 2:
        raise OutOfRange(f"limbs need values of at least 2 bits, not {bits}")
    return bits - 1


def limbs_needed(bits: int) -> int:
    """Return the limbs per count for values of `bits` bits (0: the vector is float32)."""
    return -(-COUNT_BITS // _base_bits(bits))


def encode(counts: Sequence[int], bits: int) -> NDArray[np.int32]:
    """Return the limbs of all counts, int32[len(counts) * limbs_needed(bits)].

    Raises:
        OutOfRange: If a count is negative, or 2^48 or more.
    """
    base, needed = _base_bits(bits), limbs_needed(bits)
    for count in counts:
        if not 0 <= count < 1 << COUNT_BITS:
            raise OutOfRange(f"a count lies in 0 to 2^{COUNT_BITS} - 1, not {count}")
    digits = [
        (int(count) >> (base * k)) & ((1 << base) - 1) for count in counts for k in range(needed)
    ]
    return np.array(digits, np.int32)


def decode(
    sums: Sequence[int] | Sequence[float] | NDArray[np.generic], bits: int, how_many: int
) -> list[int]:
    """Return the sums of `how_many` counts from the sums of their limbs.

    Raises:
        OutOfRange: If the number of limbs is wrong, or a limb is negative, not whole or NaN.
    """
    base, needed = _base_bits(bits), limbs_needed(bits)
    values = np.asarray(sums).tolist()
    if len(values) != how_many * needed:
        raise OutOfRange(f"{how_many} counts have {how_many * needed} limbs, not {len(values)}")
    if any(not 0 <= value < float("inf") or value != int(value) for value in values):
        raise OutOfRange("the sum of counts holds a limb that is negative or not whole")
    return [
        sum(int(values[i * needed + k]) << (base * k) for k in range(needed))
        for i in range(how_many)
    ]
