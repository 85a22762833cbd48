"""AES-256 in counter mode (NIST SP 800-38A) as a source of exactly uniform ring elements.

A key of 32 bytes, all of them random, is one stream: the counter block starts at zero, and a key
makes ONE stream, for one vector, ever. Element j of the mask is the stream's j-th little-endian
word of `ring.dtype`, modulo 2^bits: a power of two that divides the word's range, so that uniform
bytes are exactly uniform elements. (24 bits: four bytes per element, of which one is thrown away.
Three would save a quarter of the keystream and cost twice that in taking them apart.)

All streams run over one chunk before the next chunk, so that the chunk stays in the processor's
cache, and one buffer takes every keystream.
"""

from collections.abc import Iterable

import numpy as np
from cryptography.hazmat.primitives.ciphers import Cipher, CipherContext, algorithms, modes
from numpy.typing import NDArray

from crypto.errors import CryptoError
from crypto.ring import BLOCK, Elements, Ring

KEY_BYTES = 32
CHUNK = BLOCK  # elements; measured: half and twice as many are up to 10 % slower, a quarter 15 %
_ZEROS = memoryview(bytes(8 * CHUNK))  # the plaintext, whose encryption is the keystream


def _counter_mode(key: bytes, first_block: bytes) -> CipherContext:
    return Cipher(algorithms.AES(key), modes.CTR(first_block)).encryptor()


class Stream:
    """The keystream of one key, from its start onwards.

    Raises:
        CryptoError: If the key does not have 32 bytes.
    """

    def __init__(self, key: bytes) -> None:
        if len(key) != KEY_BYTES:
            raise CryptoError(f"a stream's key has {KEY_BYTES} bytes, not {len(key)}")
        self._update_into = _counter_mode(key, bytes(16)).update_into

    def read_into(self, buffer: NDArray[np.uint8]) -> None:
        """Write the next len(buffer) bytes of the stream."""
        if len(buffer) <= len(_ZEROS):
            self._update_into(_ZEROS[: len(buffer)], buffer.data)
            return
        for start in range(0, len(buffer), len(_ZEROS)):
            self.read_into(buffer[start : start + len(_ZEROS)])


class Masks:
    """The signed sum of several streams' masks, added to a vector chunk by chunk from its start.

    Args:
        streams: (key, sign) each; sign 1 adds the mask, -1 subtracts it.
        ring: The vector's ring.

    Raises:
        CryptoError: If a sign or a key is not one of these.
    """

    def __init__(self, streams: Iterable[tuple[bytes, int]], ring: Ring) -> None:
        self._ring = ring
        self._streams = []
        for key, sign in streams:
            if sign not in (1, -1):
                raise CryptoError(f"a mask is added (1) or subtracted (-1), not {sign}")
            self._streams.append((Stream(key), np.add if sign == 1 else np.subtract))
        self._words = np.empty(CHUNK, ring.dtype)

    def add_to(self, chunk: Elements) -> None:
        """Add the masks of the next len(chunk) <= CHUNK elements, in place.

        Raises:
            OutOfRange: If the dtype is not the ring's. Elements wider than the ring would not wrap,
                and the update would show through the mask.
        """
        self._ring.check(chunk)
        words = self._words[: len(chunk)]
        for stream, operation in self._streams:
            stream.read_into(words.view(np.uint8))
            operation(chunk, words, out=chunk)


def apply(vector: Elements, streams: Iterable[tuple[bytes, int]], ring: Ring) -> None:
    """Add the masks of all streams to a whole vector, in place.

    Args:
        vector: Flat array of `ring.dtype`. For 24 bits the elements' top bytes are undefined
            afterwards, as everywhere (`ring.reduce`).
        streams: (key, sign) each, as for `Masks`.
        ring: The vector's ring.

    Raises:
        OutOfRange: If the vector has another dtype or shape.
        CryptoError: If a key or a sign is not valid.
    """
    ring.check(vector)
    masks = Masks(streams, ring)
    for start in range(0, len(vector), CHUNK):
        masks.add_to(vector[start : start + CHUNK])
