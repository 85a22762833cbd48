"""X25519 key agreement (RFC 7748)."""

import os
from collections.abc import Callable
from dataclasses import dataclass, field

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey

from crypto.errors import CryptoError

KEY_BYTES = 32


@dataclass(frozen=True)
class KeyPair:
    """A private and a public key, 32 raw bytes each. Printing one never shows the private half."""

    private: bytes = field(repr=False)
    public: bytes


def generate(random: Callable[[int], bytes] = os.urandom) -> KeyPair:
    """A fresh pair whose private key is `random(32)`."""
    private = random(KEY_BYTES)
    return KeyPair(private, public_of(private))


def _load(private: bytes) -> X25519PrivateKey:
    if len(private) != KEY_BYTES:
        raise CryptoError(f"an X25519 private key has {KEY_BYTES} bytes, not {len(private)}")
    return X25519PrivateKey.from_private_bytes(private)


def public_of(private: bytes) -> bytes:
    """The public key that belongs to `private`. Raises CryptoError for a wrong length."""
    return _load(private).public_key().public_bytes_raw()


def shared_secret(private: bytes, public: bytes) -> bytes:
    """X25519(private, public): 32 bytes, to be fed to `kdf.derive` and never used as a key itself.

    Raises CryptoError for a wrong length, and when the result is all zero: the peer sent a point of
    low order, so that anybody knows the "secret" (RFC 7748, section 6.1).
    """
    return _exchange(_load(private), public)


def usable(public: bytes) -> bool:
    """Return True if this public key gives a shared secret.

    The answer is the same for every private key: they are multiples of the cofactor 8 (RFC 7748,
    section 5), so exactly the points of low order give zero.
    """
    try:
        shared_secret(bytes(KEY_BYTES), public)
    except CryptoError:
        return False
    return True


class Agreements:
    """`shared_secret` of one private key with many peers: the key is loaded once, and every secret
    computed once.

    Holds those secrets: to be dropped together with the private key.
    """

    def __init__(self, private: bytes) -> None:
        self._key = _load(private)
        self._secrets: dict[bytes, bytes] = {}

    def secret(self, public: bytes) -> bytes:
        """As `shared_secret`, and raises as it does."""
        if public not in self._secrets:
            self._secrets[public] = _exchange(self._key, public)
        return self._secrets[public]


def _exchange(key: X25519PrivateKey, public: bytes) -> bytes:
    if len(public) != KEY_BYTES:
        raise CryptoError(f"an X25519 public key has {KEY_BYTES} bytes, not {len(public)}")
    try:
        secret = key.exchange(X25519PublicKey.from_public_bytes(public))
    except ValueError as error:
        raise CryptoError("the peer's X25519 public key is a point of low order") from error
    # OpenSSL has refused it by now; RFC 7748 asks for the check, and it costs nothing
    if not any(secret):
        raise CryptoError("the peer's X25519 public key is a point of low order")
    return secret
