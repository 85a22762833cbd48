"""Hashes, derived keys and MACs over typed parts.

Every function takes a domain (what the result is for) and parts. Each part is encoded as a type
byte, an eight-byte length and its bytes. The encoding is injective: different lists of parts and
different domains never give the same input.
"""

import hashlib
import hmac as _hmac

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

Part = bytes | bytearray | memoryview | str | int

_PRODUCT = "flop-federation/1"  # separates these hashes from everybody else's


def _header(kind: bytes, length: int) -> bytes:
    return kind + length.to_bytes(8, "big")


def _pieces(domain: str, parts: tuple[Part, ...]) -> list[bytes | memoryview]:
    pieces: list[bytes | memoryview] = []
    for part in (_PRODUCT, domain, *parts):
        if type(part) is int:  # first and in one piece: a cohort is a thousand of them
            number = part.to_bytes(part.bit_length() // 8 + 1, "big", signed=True)
            pieces.append(_header(b"i", len(number)) + number)
            continue
        body: bytes | memoryview
        if isinstance(part, str):
            kind, body = b"s", part.encode("utf-8")
        elif isinstance(part, bool):
            raise TypeError("a bool is no part: say what it means with a str or an int")
        elif isinstance(part, bytes | bytearray | memoryview):
            kind, body = b"b", memoryview(part).cast("B")
        else:
            raise TypeError(f"a part is bytes, str or int, not {type(part).__name__}")
        pieces += (_header(kind, len(body)), body)
    return pieces


def encode(domain: str, *parts: Part) -> bytes:
    """Return the injective encoding itself, for data that is signed and not hashed.

    Raises:
        TypeError: If a part is not bytes, str or int.
    """
    return b"".join(_pieces(domain, parts))


def digest(domain: str, *parts: Part) -> bytes:
    """Return the SHA-256 of the encoded domain and parts, 32 bytes."""
    state = hashlib.sha256()
    for piece in _pieces(domain, parts):
        state.update(piece)
    return state.digest()


def derive(secret: bytes, domain: str, *info: Part, length: int = 32) -> bytes:
    """Return `length` bytes (1 to 8160) of HKDF-SHA256 (RFC 5869) without salt.

    The encoded domain and `info` are HKDF's info.
    """
    return hkdf(secret, salt=None, info=encode(domain, *info), length=length)


def hkdf(secret: bytes, salt: bytes | None, info: bytes, length: int) -> bytes:
    """HKDF-SHA256 as RFC 5869 writes it; everything but the RFC's own vectors goes through
    `derive`.
    """
    return HKDF(algorithm=hashes.SHA256(), length=length, salt=salt, info=info).derive(secret)


def mac(key: bytes, domain: str, *parts: Part) -> bytes:
    """HMAC-SHA256 of the encoded domain and parts: 32 bytes."""
    state = _hmac.new(key, digestmod=hashlib.sha256)
    for piece in _pieces(domain, parts):
        state.update(piece)
    return state.digest()


def equal(a: bytes, b: bytes) -> bool:
    """Return True if both are the same, in time that does not depend on where they differ."""
    return _hmac.compare_digest(a, b)
