"""Ed25519 signatures (RFC 8032) over typed parts.

What is signed is `kdf.encode(domain, *parts)`, so that a signature for one purpose is never valid
for another.
"""

from collections.abc import Iterable

from cryptography.exceptions import InvalidSignature as _Invalid
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from crypto.agreement import KEY_BYTES, KeyPair
from crypto.errors import CryptoError, InvalidSignature
from crypto.kdf import Part, encode

SIGNATURE_BYTES = 64


def generate() -> KeyPair:
    """A fresh pair from the operating system's randomness."""
    private = Ed25519PrivateKey.generate()
    return KeyPair(private.private_bytes_raw(), private.public_key().public_bytes_raw())


def _load(private: bytes) -> Ed25519PrivateKey:
    if len(private) != KEY_BYTES:
        raise CryptoError(f"an Ed25519 private key has {KEY_BYTES} bytes, not {len(private)}")
    return Ed25519PrivateKey.from_private_bytes(private)


def public_of(private: bytes) -> bytes:
    """The public key that belongs to `private`. Raises CryptoError for a wrong length."""
    return _load(private).public_key().public_bytes_raw()


def sign(private: bytes, domain: str, *parts: Part) -> bytes:
    """Return a 64-byte signature. Ed25519 is deterministic, so a retry gives the same bytes.

    Raises:
        CryptoError: If the key does not have 32 bytes.
    """
    return sign_raw(private, encode(domain, *parts))


def verify(public: bytes, signature: bytes, domain: str, *parts: Part) -> None:
    """Return if the signature is valid.

    Raises:
        InvalidSignature: If it is not, or if the key is malformed.
    """
    verify_raw(public, signature, encode(domain, *parts))


def first_invalid(signed: Iterable[tuple[bytes, bytes]], domain: str, *parts: Part) -> int | None:
    """Verify many (public key, signature) pairs over the same parts.

    Returns:
        The index of the first invalid one, None if all are valid.
    """
    # once, and not for each: the parts may be as many as the signers
    message = encode(domain, *parts)
    for place, (public, signature) in enumerate(signed):
        try:
            verify_raw(public, signature, message)
        except InvalidSignature:
            return place
    return None


def sign_raw(private: bytes, message: bytes) -> bytes:
    """Return the Ed25519 signature of RFC 8032. Only the RFC's vectors use it; use `sign`."""
    return _load(private).sign(message)


def verify_raw(public: bytes, signature: bytes, message: bytes) -> None:
    """Verify what `sign_raw` made. Raises InvalidSignature if the signature is not valid."""
    if len(public) != KEY_BYTES or len(signature) != SIGNATURE_BYTES:
        raise InvalidSignature("a public key has 32 bytes and a signature 64")
    try:
        Ed25519PublicKey.from_public_bytes(public).verify(signature, message)
    except (_Invalid, ValueError) as error:
        raise InvalidSignature("the signature is not this key's over these parts") from error
