"""The aggregate's tag: a linear MAC that lets hospitals check the sum of the survivors' updates.

The hospitals share a key K that the coordinator does not know. A hospital's tag over its integers x
is

    tag(x) = sum_j r_j x_j + pad(hospital)   mod 2^64,

r_j the 64-bit words of an AES-256-CTR stream and pad a PRF, both keyed by K and the context (run
and round). The tags travel masked, in a stream of their own. Their sum is the tag that the sum
of the updates must have: `expected`.

What forging needs. Let an adversary without K present s + e for the true sum s, with e not zero. It
has seen at most one tag per hospital and context, each hidden by its own pad, so that its view does
not depend on r (up to the PRF's strength); e and its shift t of the tag are fixed before r. It
passes if sum_j r_j e_j = t mod 2^64. Let 2^v be the largest power of two that divides every e_j.
Then sum_j r_j e_j is uniform on the multiples of 2^v, and the forgery passes with probability at
most 2^-(64 - v). Both s and what is accepted are integers of absolute value below 2^31, checked
here, so 0 < |e_j| < 2^32 for some j, v <= 31, and the probability is at most

    2^-33, reached only by a sum that is wrong by exactly 2^31, up or down, wherever it is wrong.

For sums that `Ring.signed` gave in a ring of b bits, |e_j| < 2^b, v < b and the bound is 2^-(65 -
b): 2^-49 for 16 bits, 2^-41 for 24, 2^-33 for 32. A sum that is wrong by an odd number anywhere
passes with probability 2^-64.

There is no second try: a failed check ends the round, and the next context has another r. The
argument is over the integers, so a sum must be compared after `Ring.signed` and not modulo the
ring. A hospital must tag one vector per context: two tags with one pad give away sum_j r_j (x_j -
x'_j). Any hospital that colludes can forge, as it knows K; privacy does not rest on this tag.
"""

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crypto.errors import CryptoError, OutOfRange
from crypto.kdf import Part, derive, mac
from crypto.keystream import Stream

MODULUS = 1 << 64
_CHUNK = 1 << 14  # integers: r takes 128 KiB
_LIMIT = 1 << 31


class Tagger:
    """Computes sum_j r_j x_j over a vector that comes in pieces, from its start onwards.

    Args:
        key: The hospitals' common secret, 32 bytes.
        context: Names run and round; one vector per context.

    Raises:
        CryptoError: If the key does not have 32 bytes.
    """

    def __init__(self, key: bytes, context: bytes) -> None:
        if len(key) != 32:
            raise CryptoError(f"a tag key has 32 bytes, not {len(key)}")
        self._key, self._context = key, context
        self._stream = Stream(derive(key, "tag-r", context))
        self._sum = 0
        self._r = np.empty(_CHUNK, "<u8")
        self._x = np.empty(_CHUNK, "<i8")

    def update(self, x: NDArray[Any]) -> None:
        """Add the next integers, a flat array of any integer dtype.

        Raises:
            OutOfRange: If an element is not between -2^31 and 2^31, or the dtype or shape is wrong.
        """
        if x.dtype.kind not in "iu" or x.ndim != 1:
            raise OutOfRange(f"a tag is over a flat array of integers, not {x.dtype}{x.shape}")
        for start in range(0, len(x), _CHUNK):
            piece = x[start : start + _CHUNK]
            if x.dtype.itemsize >= 4 and not (
                int(piece.min()) > -_LIMIT and int(piece.max()) < _LIMIT
            ):
                raise OutOfRange("an integer under a tag lies between -2^31 and 2^31")
            r, wide = self._r[: len(piece)], self._x[: len(piece)]
            self._stream.read_into(r.view(np.uint8))
            np.copyto(wide, piece, casting="unsafe")
            self._sum += int(np.dot(r, wide.view("<u8")))
        self._sum %= MODULUS

    def tag(self, hospital: Part) -> int:
        """Return the hospital's tag of everything seen so far, 0 to 2^64 - 1."""
        return (self._sum + _pad(self._key, self._context, hospital)) % MODULUS

    def expected(self, survivors: Iterable[Part]) -> int:
        """Return the sum of the survivors' tags, if everything seen is the sum of their vectors."""
        return (
            self._sum + sum(_pad(self._key, self._context, hospital) for hospital in survivors)
        ) % MODULUS


def _pad(key: bytes, context: bytes, hospital: Part) -> int:
    return int.from_bytes(mac(derive(key, "tag-pad"), "tag-pad", context, hospital)[:8], "little")


def tag(key: bytes, context: bytes, hospital: int | str, x: NDArray[Any]) -> int:
    """Return one hospital's tag of x, 0 to 2^64 - 1. Raises as `Tagger.update` does."""
    tagger = Tagger(key, context)
    tagger.update(x)
    return tagger.tag(hospital)


def expected(key: bytes, context: bytes, survivors: Iterable[Part], sum_x: NDArray[Any]) -> int:
    """Return the sum modulo 2^64 of the survivors' tags, if sum_x is the sum of their vectors.

    The sum is over the integers and not modulo the ring.
    """
    tagger = Tagger(key, context)
    tagger.update(sum_x)
    return tagger.expected(survivors)
