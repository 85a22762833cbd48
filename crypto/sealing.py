"""Sealed boxes: ChaCha20-Poly1305 (RFC 8439) under keys that seal exactly once.

THE NONCE IS ALWAYS ZERO. That is safe for one reason only: the caller derives a new key for every
(run, round, from, to, purpose) from a fresh key agreement, and seals ONE plaintext with it. A retry
seals the same plaintext again and gives the same bytes: an observer learns nothing, and the
receiver recognises the same message.

It is NOT safe to seal two different plaintexts (or one plaintext with two different associated
data) under one key: their XOR is then in clear and the Poly1305 key can be solved for, so that
boxes can be forged. Never seal with a long-lived key: derive one.
"""

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

from crypto.errors import CryptoError, OpenFailed

KEY_BYTES = 32
OVERHEAD = 16  # bytes that a box is longer than its plaintext
_ONLY_NONCE = bytes(12)


def _cipher(key: bytes) -> ChaCha20Poly1305:
    if len(key) != KEY_BYTES:
        raise CryptoError(f"a sealing key has {KEY_BYTES} bytes, not {len(key)}")
    return ChaCha20Poly1305(key)


def seal(key: bytes, plaintext: bytes, associated: bytes) -> bytes:
    """Return ciphertext and tag, `OVERHEAD` bytes longer than the plaintext.

    Args:
        key: 32 bytes, for this one plaintext only (see above).
        plaintext: What is sealed.
        associated: Authenticated, and not part of the box.

    Raises:
        CryptoError: If the key does not have 32 bytes.
    """
    return _cipher(key).encrypt(_ONLY_NONCE, plaintext, associated)


def open_sealed(key: bytes, sealed: bytes, associated: bytes) -> bytes:
    """Return the plaintext of a box.

    Raises:
        OpenFailed: If a bit of the box, the key or `associated` differs from the sealer's.
        CryptoError: If the key does not have 32 bytes.
    """
    try:
        return _cipher(key).decrypt(_ONLY_NONCE, sealed, associated)
    except (InvalidTag, ValueError) as error:
        if isinstance(error, CryptoError):
            raise
        raise OpenFailed("the box was not sealed with this key for this purpose") from error
