"""How many signed integers fit into one CKKS slot so that the decrypted sum is exact.

A CKKS slot is a complex number. Its real and its imaginary part each carry one *part*: `fields`
signed integers of `bits` bits, written as the digits of one number in base `radix` = parties *
2^bits, which is how many values the sum over all parties may have. `Packing(bits, parties, masked)`
derives the rest: two parties that agree on these three numbers agree on the wire format.

With slots z, scale s, ring degree N and one prime q of 60 bits (Cheon et al. 2017, eprint 2016/421,
section 3):

- **Nothing wraps.** A coefficient of the encoded sum is at most
  s * max|z| <= s * sqrt(2) * sum_limit, whatever the values. The scale is the largest integer that
  keeps this under q/2, less one part in 1024 for the noise.
- **Rounding finds the sum.** A fresh symmetric encryption adds a polynomial whose coefficients have
  standard deviation sqrt(21/2) (SEAL's centred binomial, made to match 3.2), and the encoder rounds
  each coefficient (variance 1/12). Decoding evaluates at primitive 2N-th roots of unity, and over
  those sum_k cos^2 = N/2 exactly. The noise in a decoded part of the sum is then
      sigma = sqrt(parties * (21/2 + 1/12) * N / 2) / s,
  and the doubles in which SEAL encodes and decodes, log2(N) steps and a scaling each, add less than
  (log2(N) + 2) * 2^-52 * sum_limit.
  A packing is accepted only if 12 * sigma + (log2(N) + 2) * 2^-52 * sum_limit <= 1/2: a part is
  then rounded wrongly once in 1e32.

`fields` is the largest number that is accepted. N = 4096 is the smallest degree that SEAL accepts
for a 60-bit prime at 128-bit security; a larger one costs noise and granularity and gains nothing.

**masked** is for parties that share the decryption key but must not read each other: the whole
packed part is masked mod 2^modulus_bits *inside* the ciphertext, the smallest such modulus that
tells all sums apart. A masked part is uniform, so the encrypted sum needs log2(parties + 1) more
bits, once a part and not once a field; the one that is not a party is the sum of the masks, which
the adder subtracts inside the ciphertext too (as a plaintext: rounded, without noise). What is
decrypted is reduced.
"""

import math
import struct
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crypto.errors import ConfigOverflow, CryptoError, OpenFailed, OutOfRange

Blob = bytes | bytearray | memoryview

PRIME_BITS = 60
PRIME = 2**60 - 2**14 + 1
HEADER_BYTES = 16
SEED_BYTES = 64
SEEDED, SUM, KEY = 1, 2, 3
MAGIC = b"FLCK\x01"
MARGIN_SIGMAS = 12
ROUNDING_VARIANCE = 1 / 12
NOISE_VARIANCE = 21 / 2 + ROUNDING_VARIANCE
MAX_BITS = 32
MAX_PARTIES = 2**20
_CHUNK = 1 << 14  # parts: what is done to one field after the other stays in the processor's cache


@dataclass(frozen=True)
class Packing:
    """The wire format of an encrypted sum: a function of three agreed numbers and the ring degree.

    Args:
        bits: A party's values are signed integers in [-2^(bits-1), 2^(bits-1) - 1]; 2 to 32.
        parties: How many values are summed at most; 1 to 2^20.
        masked: Every party's packed parts are masked inside the ciphertext.
        degree: The ring degree N, 4096 or 8192.
        fields: Integers in one packed part; unless given, the largest number that is exact.

    Raises:
        ConfigOverflow: If the sum of such values cannot be decoded exactly.
    """

    bits: int
    parties: int
    masked: bool = False
    degree: int = 4096
    fields: int = 0

    def __post_init__(self) -> None:
        if not 2 <= self.bits <= MAX_BITS:
            raise ConfigOverflow(f"bits = {self.bits}: CKKS packs values of 2 to {MAX_BITS} bits")
        if not 1 <= self.parties <= MAX_PARTIES:
            raise ConfigOverflow(f"cohort = {self.parties}: CKKS sums 1 to {MAX_PARTIES} parties")
        if self.degree not in (4096, 8192):
            raise ConfigOverflow(f"degree = {self.degree}: the ring degree is 4096 or 8192")
        if self.fields:
            return
        most = (PRIME_BITS - 2) // (self.radix.bit_length() - 1)
        candidates = [replace(self, fields=fields) for fields in range(most, 0, -1)]
        found = next((one.fields for one in candidates if one.exact), 0)
        object.__setattr__(self, "fields", found or 1)
        if found:
            return
        under = " under masks" if self.masked else ""
        raise ConfigOverflow(
            f"bits = {self.bits} with a cohort of {self.parties}{under}: the encrypted sum needs"
            f" {self.sum_limit.bit_length() + 1} bits, and the noise is then too large to decode it"
            " exactly. Use fewer bits or a smaller cohort"
        )

    @property
    def exact(self) -> bool:
        """Whether every sum can be encoded and is decoded to its integers."""
        return self.scale >= 1 and self.rounding_error <= 1 / 2

    @property
    def radix(self) -> int:
        """How many values a field of the sum may have: from -radix / 2 to radix / 2 - 1."""
        return self.parties << self.bits

    @property
    def modulus_bits(self) -> int:
        """A part's mask is uniform mod 2^modulus_bits, which all sums of a part fit into."""
        return (int(self.radix**self.fields) - 1).bit_length()

    @property
    def part_limit(self) -> int:
        """Largest magnitude of a part that one party may encrypt."""
        if self.masked:
            return 1 << (self.modulus_bits - 1)
        return sum(self.radix**i << (self.bits - 1) for i in range(self.fields))

    @property
    def sum_limit(self) -> int:
        """Largest magnitude of a part of the sum, that of the masks counted as a party's."""
        return (self.parties + self.masked) * self.part_limit

    @property
    def scale(self) -> int:
        """The largest s with sqrt(2) * sum_limit * s <= 2^59 * (1 - 2^-10).

        One part counts as two, since SEAL encodes up to 2^58 only.
        """
        room, most = (
            (1 << (PRIME_BITS - 1)) - (1 << (PRIME_BITS - 11)),
            max(2 * self.part_limit, self.sum_limit),
        )
        return math.isqrt(room * room // (2 * most * most))

    @property
    def sigma(self) -> float:
        """Standard deviation of the noise in a decoded part of a sum; parts are integers."""
        variance = self.parties * NOISE_VARIANCE + self.masked * ROUNDING_VARIANCE
        return math.sqrt(variance * self.degree / 2) / self.scale

    @property
    def rounding_error(self) -> float:
        """Largest distance of a decoded part from its integer: 12 sigma and the doubles' error.

        At most 1/2 in every packing that exists.
        """
        return MARGIN_SIGMAS * self.sigma + (math.log2(self.degree) + 2) * 2.0**-52 * self.sum_limit

    @property
    def ciphertext_bytes(self) -> int:
        """Exact size of an uploaded ciphertext: header, one polynomial, the seed of the other."""
        return HEADER_BYTES + 8 * self.degree + SEED_BYTES

    @property
    def sum_bytes(self) -> int:
        """Exact size of a ciphertext of the sum: header, two polynomials."""
        return HEADER_BYTES + 16 * self.degree

    @property
    def key_bytes(self) -> int:
        """Exact size of a secret key."""
        return HEADER_BYTES + 8 * self.degree

    def parts(self, length: int) -> int:
        """Return how many parts hold `length` values."""
        return -(-length // self.fields)

    def ciphertexts(self, length: int) -> int:
        """Return how many ciphertexts hold `length` values, `degree` parts in each."""
        return -(-self.parts(length) // self.degree)

    def header(self, kind: int) -> bytes:
        """Return the 16 bytes before a blob of this kind (SEEDED, SUM, KEY).

        No two packings have the same header.
        """
        agreed = (self.degree.bit_length() - 1, self.bits, self.fields, self.masked, self.parties)
        return struct.pack("<5s5BI2x", MAGIC, kind, *agreed)

    def payload(self, blob: Blob, kind: int) -> memoryview:
        """Return what follows the header. This is all that is checked before SEAL sees a byte.

        Raises:
            CryptoError: If size, header or a coefficient is wrong.
        """
        view = memoryview(blob)
        size = {SEEDED: self.ciphertext_bytes, SUM: self.sum_bytes, KEY: self.key_bytes}[kind]
        if view.nbytes != size:
            raise CryptoError(f"a ciphertext has {view.nbytes} bytes where {size} belong")
        if view[:HEADER_BYTES] != self.header(kind):
            raise CryptoError("a ciphertext's header is not that of the agreed packing")
        words = view[HEADER_BYTES:-SEED_BYTES] if kind == SEEDED else view[HEADER_BYTES:]
        if np.frombuffer(words, "<u8").max() >= PRIME:
            raise CryptoError("a ciphertext has a coefficient that is not below the prime")
        return view[HEADER_BYTES:]

    def pack(self, values: NDArray[np.int32]) -> NDArray[np.int64]:
        """Pack int32[length] into int64[parts(length)]; field i of part p is value i * parts + p.

        Raises:
            OutOfRange: If a value does not fit `bits`, or the array is not flat int32.
        """
        if values.ndim != 1 or values.dtype != np.int32:
            raise OutOfRange(
                f"pack takes a flat int32 array, not {values.dtype} of shape {values.shape}"
            )
        half = 1 << (self.bits - 1)
        if values.size and not (-half <= int(values.min()) and int(values.max()) < half):
            raise OutOfRange(f"a value lies outside {self.bits} signed bits")
        count = self.parts(values.size)
        parts = np.zeros(count, np.int64)
        for start in range(0, count, _CHUNK):
            chunk = parts[start : start + _CHUNK]
            for i in reversed(range(self.fields)):
                piece = values[i * count + start : i * count + start + chunk.size]
                chunk *= self.radix
                chunk[: piece.size] += piece
        return parts

    def wrap(self, parts: NDArray[np.int64]) -> NDArray[np.int64]:
        """Reduce masked parts mod 2^modulus_bits into the balanced range, before encryption."""
        half = np.int64(1 << (self.modulus_bits - 1))
        reduced = parts + half
        reduced &= np.int64((1 << self.modulus_bits) - 1)
        reduced -= half
        return reduced

    def unpack(self, parts: NDArray[np.int64], length: int) -> NDArray[Any]:
        """Return the exact sums of `length` values from the decrypted parts.

        Args:
            parts: int64 parts of the sum, with or without the padding of the last ciphertext. Under
                masks `Adder.subtract` has removed what was left of them; reduction happens here.
            length: Number of values.

        Returns:
            int32[length] if every sum fits, else int64[length].

        Raises:
            OpenFailed: If honest parties cannot have this sum. The text is the same as for a
                ciphertext that does not decrypt.
        """
        count = self.parts(length)
        if parts.ndim != 1 or parts.size not in (count, self.ciphertexts(length) * self.degree):
            raise OpenFailed("ciphertext refused")
        half = self.radix // 2
        lowest = np.int64(sum(half * self.radix**i for i in range(self.fields)))
        values = np.empty(length, np.int32 if half < 2**31 else np.int64)
        for start in range(0, count, _CHUNK):
            # Counted from the lowest sum there is, a part is a number whose digits are the fields.
            rest = parts[start : min(start + _CHUNK, count)] + lowest
            if self.masked:
                rest &= np.int64((1 << self.modulus_bits) - 1)
            for i in range(self.fields):
                higher = rest // self.radix
                rest -= higher * self.radix
                piece = values[i * count + start : i * count + start + rest.size]
                np.subtract(rest[: piece.size], half, out=piece, casting="unsafe")
                if np.any(rest[piece.size :] != half):  # fields behind the last value are zero
                    raise OpenFailed("ciphertext refused")
                rest = higher
            if rest.any():
                raise OpenFailed("ciphertext refused")
        return values
