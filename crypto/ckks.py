"""Add-only CKKS through SEAL itself: exact integer sums at the size of float32.

`tenseal.sealapi` is Microsoft SEAL. Addition needs no
relinearisation, no rescaling and no special prime, so one 60-bit prime is all; SEAL refuses
parameters below 128-bit security. In a symmetric ciphertext (c0, c1), c1 is expanded from a seed,
and the seed is what travels.

**Wire.** SEAL's own blobs carry nested headers, a compression mode and metadata that a peer could
bend: its loader accepts trailing bytes, and a few bytes of zstd unpack to gigabytes. None of this
travels. A ciphertext is 16 bytes that name kind and packing, compared as a whole, then
little-endian 64-bit words below the prime: c0 and a 64-byte seed on the way up, c0 and c1 on the
way down. The receiver checks size, header and words (`Packing.payload`), puts its *own* SEAL
metadata with mode "none" before them, and lets SEAL load that. Nothing is ever unpacked, and no
field is left to lie in.

**Randomness.** SEAL draws seed and noise afresh from the operating system for every call, also
after a fork. Nothing here sets a generator, and no two ciphertexts share c1 (c0 - c0' would be m -
m'). Decoded parts are rounded to the exact integer sum before anybody sees them. This rounding is
the countermeasure to the attack of Li and Micciancio (eprint 2020/1533): how far they were from the
integers is neither reported nor decided on.
"""

import struct
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tenseal import sealapi as seal

from crypto.errors import CryptoError, OpenFailed, OutOfRange
from crypto.packing import KEY, PRIME, PRIME_BITS, SEED_BYTES, SEEDED, SUM, Blob, Packing
from crypto.sealfile import Scratch, body_of, saved


def generate_secret_key(packing: Packing) -> bytes:
    """A new group key of `packing.key_bytes`, from the operating system. Who holds it reads all
    that it encrypts.
    """
    scheme = _scheme(packing.degree, packing.scale)
    with Scratch() as scratch:
        body = saved(lambda: seal.KeyGenerator(scheme.context).secret_key(), scratch)
    return packing.header(KEY) + body[-8 * packing.degree :]


class Encryptor:
    """What a hospital does with the group key: encrypt parts, decrypt the sum. OpenFailed for a key
    that is not one.
    """

    def __init__(self, secret_key: Blob, packing: Packing) -> None:
        self.packing, self._scale = packing, float(packing.scale)
        self._scheme = _scheme(packing.degree, packing.scale)
        key = seal.SecretKey()
        try:
            words = packing.payload(secret_key, KEY)
            with Scratch() as scratch:
                scratch.load(key, self._scheme.context, self._scheme.key_head, words)
        except (CryptoError, RuntimeError, ValueError):
            raise OpenFailed("secret key refused") from None
        self._encoder = seal.CKKSEncoder(self._scheme.context)
        self._encryptor = seal.Encryptor(self._scheme.context, key)
        self._decryptor = seal.Decryptor(self._scheme.context, key)

    def encrypt(self, parts: NDArray[np.int64]) -> list[bytes]:
        """int64 parts (`packing.pack`, then under masks `packing.wrap`) -> blobs of
        `packing.ciphertext_bytes` each.

        The last one is filled up with zeros. Raises OutOfRange for a part above
        `packing.part_limit`.
        """
        degree, limit = self.packing.degree, self.packing.part_limit
        if parts.ndim != 1 or parts.dtype != np.int64:
            raise OutOfRange(
                f"encrypt takes a flat int64 array, not {parts.dtype} of shape {parts.shape}"
            )
        if parts.size and not (-limit <= int(parts.min()) and int(parts.max()) <= limit):
            raise OutOfRange(
                "a part is larger than this packing allows; under masks, wrap before encrypting"
            )
        with Scratch() as scratch:
            return [
                self._encrypt(parts[start : start + degree], scratch)
                for start in range(0, parts.size, degree)
            ]

    def _encrypt(self, parts: NDArray[np.int64], scratch: Scratch) -> bytes:
        plain = _encoded(self._encoder, parts, self.packing.degree, self._scale)
        # One argument: SEAL then keeps c1 as its seed.
        body = saved(lambda: self._encryptor.encrypt_symmetric(plain), scratch)
        c0 = body[self._scheme.meta : self._scheme.meta + 8 * self.packing.degree]
        return self.packing.header(SEEDED) + c0 + body[-SEED_BYTES:]

    def decrypt(self, blobs: Sequence[Blob]) -> NDArray[np.int64]:
        """Ciphertexts of a sum (`Adder.result`) -> int64[len(blobs) * degree], the exact sums of
        the parts.

        Every failure is the same OpenFailed. That the result *is* the sum of what the hospitals
        sent is not known here: whoever adds ciphertexts can add others. The caller checks a tag
        before it uses the numbers, and replaces the key after a refusal: whether a sum with a small
        offset still rounds to the same integers is one bit about the noise.
        """
        degree, limit = self.packing.degree, self.packing.sum_limit
        try:
            parts = np.empty(len(blobs) * degree, np.int64)
            with Scratch() as scratch:
                for i, blob in enumerate(blobs):
                    rounded = self._decrypt(blob, scratch)
                    if not (-limit <= rounded.min() and rounded.max() <= limit):
                        raise OpenFailed("ciphertext refused")
                    parts[i * degree : (i + 1) * degree] = rounded
        except Exception:
            raise OpenFailed("ciphertext refused") from None
        return parts

    def _decrypt(self, blob: Blob, scratch: Scratch) -> NDArray[np.float64]:
        cipher, plain = seal.Ciphertext(), seal.Plaintext()
        scratch.load(
            cipher, self._scheme.context, self._scheme.sum_head, self.packing.payload(blob, SUM)
        )
        self._decryptor.decrypt(cipher, plain)
        slots = np.array(self._encoder.decode_complex(plain), np.complex128)
        rounded: NDArray[np.float64] = np.rint(slots.view(np.float64))
        return rounded


class Adder:
    """What the coordinator does, without a key: check uploads and add them into one sum of `length`
    values.

    Memory: 16 * degree bytes for each of the `packing.ciphertexts(length)`, however many uploads
    are added. Not safe between threads.
    """

    def __init__(self, packing: Packing, length: int) -> None:
        self.packing = packing
        self.added = 0
        self._count = packing.ciphertexts(length)
        self._scheme = _scheme(packing.degree, packing.scale)
        self._evaluator = seal.Evaluator(self._scheme.context)
        self._encoder = seal.CKKSEncoder(self._scheme.context)
        self._sums: list[Any] = []
        self._broken = False

    def add(self, blobs: Sequence[Blob]) -> None:
        """Add one hospital's whole upload. CryptoError, and the sum as it was, for an upload that
        is not one.
        """
        if self._broken:
            raise CryptoError("this sum met an error in SEAL and cannot be used any more")
        if self.added == self.packing.parties:
            raise CryptoError(
                f"this packing sums {self.packing.parties} uploads, and all are there"
            )
        if len(blobs) != self._count:
            raise CryptoError(f"an upload has {len(blobs)} ciphertexts where {self._count} belong")
        payloads = [self.packing.payload(blob, SEEDED) for blob in blobs]
        # What SEAL could refuse has been refused by now. Should it raise all the same, half an
        # upload is in the sum.
        self._broken = True
        with Scratch() as scratch:
            for i, payload in enumerate(payloads):
                cipher = seal.Ciphertext()
                c0, seed = payload[:-SEED_BYTES], payload[-SEED_BYTES:]
                scratch.load(
                    cipher,
                    self._scheme.context,
                    self._scheme.seeded_head,
                    c0,
                    self._scheme.seed_head,
                    seed,
                )
                if self.added:
                    self._evaluator.add_inplace(self._sums[i], cipher)
                else:
                    self._sums.append(cipher)
        self._broken = False
        self.added += 1

    def subtract(self, parts: NDArray[np.int64]) -> None:
        """Take int64 parts (`packing.wrap`ped, one vector of `length` values) out of a sum of
        masked ones, once.

        Raises CryptoError where nothing was added, OutOfRange for other parts.
        """
        if self._broken or not self.added:
            raise CryptoError("there is no sum: no upload was added")
        degree, limit, scale = (
            self.packing.degree,
            self.packing.part_limit,
            float(self.packing.scale),
        )
        fits = parts.dtype == np.int64 and -(-parts.size // degree) == self._count
        if not fits or not (-limit <= int(parts.min()) and int(parts.max()) <= limit):
            raise OutOfRange("what is subtracted has the length and the range of one party's parts")
        for i, cipher in enumerate(self._sums):
            plain = _encoded(self._encoder, parts[i * degree : (i + 1) * degree], degree, scale)
            self._evaluator.sub_plain_inplace(cipher, plain)

    def result(self) -> list[bytes]:
        """The sum: ciphertexts of `packing.sum_bytes` each. Raises CryptoError where nothing was
        added.
        """
        if self._broken or not self.added:
            raise CryptoError("there is no sum: no upload was added")
        with Scratch() as scratch:
            return [
                self.packing.header(SUM) + self._scheme.words(cipher, scratch)
                for cipher in self._sums
            ]


def _encoded(encoder: Any, parts: NDArray[np.int64], degree: int, scale: float) -> Any:
    """At most `degree` parts as a plaintext, filled up with zeros; neighbours are the real and the
    imaginary part of a slot.
    """
    padded = np.zeros(degree, np.float64)
    padded[: parts.size] = parts
    plain = seal.Plaintext()
    encoder.encode(padded.view(np.complex128).tolist(), scale, plain)
    return plain


# --- what SEAL wants to read before our words


class _Scheme:
    """The SEAL context of a degree, and what SEAL wants to read before our words, taken from
    objects of its own.
    """

    def __init__(self, degree: int, scale: int) -> None:
        self._words = 8 * degree
        parameters = seal.EncryptionParameters(seal.SCHEME_TYPE.CKKS)
        parameters.set_poly_modulus_degree(degree)
        parameters.set_coeff_modulus(seal.CoeffModulus.Create(degree, [PRIME_BITS]))
        self.context = seal.SEALContext(parameters, True, seal.SEC_LEVEL_TYPE.TC128)
        if not self.context.parameters_set():
            raise CryptoError(
                f"SEAL refuses the parameters: {self.context.parameters_error_message()}"
            )
        if [modulus.value() for modulus in parameters.coeff_modulus()] != [PRIME]:
            raise CryptoError("SEAL chose another prime than the wire format has")

        key, plain = seal.KeyGenerator(self.context).secret_key(), seal.Plaintext()
        seal.CKKSEncoder(self.context).encode(0.0, float(scale), plain)
        encryptor = seal.Encryptor(self.context, key)

        def full() -> Any:
            cipher = seal.Ciphertext()
            encryptor.encrypt_symmetric(plain, cipher)
            return cipher

        with Scratch() as scratch:
            outer = scratch.save(key)[:8]
            key_body = saved(lambda: key, scratch)
            sum_body = saved(full, scratch)
            seeded = saved(lambda: encryptor.encrypt_symmetric(plain), scratch)
        self.meta = len(sum_body) - 2 * self._words

        def head(body: bytes, meta: int) -> bytes:
            """SEAL's outer header with mode "none" and the right size, then the metadata."""
            return outer[:5] + b"\0" + outer[6:8] + struct.pack("<Q", 16 + len(body)) + body[:meta]

        self.key_head = head(key_body, len(key_body) - self._words)
        self.sum_head = head(sum_body, self.meta)
        self.seeded_head = head(seeded, self.meta)
        self.seed_head = seeded[self.meta + self._words : -SEED_BYTES]

    def words(self, cipher: Any, scratch: Scratch) -> bytes:
        """Both polynomials of a ciphertext."""
        body = body_of(scratch.save(cipher))
        if body is not None:
            return body[self.meta :]
        array = cipher.dyn_array()
        return np.array([array.at(i) for i in range(array.size())], "<u8").tobytes()


@lru_cache(maxsize=16)
def _scheme(degree: int, scale: int) -> _Scheme:
    return _Scheme(degree, scale)
