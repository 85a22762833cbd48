"""A party's keys: three pairs with one use each, and the secret that its private randomness comes
from.

CURVE (transport), Ed25519 (signing) and X25519 (sealing) are never exchanged for one another.
Files: `ID.secret` (mode 0600, never leaves the machine) and `ID.pub` (goes to the coordinator).
"""

from __future__ import annotations

import os
import secrets
from pathlib import Path
from typing import Annotated, Literal

import msgspec
import tomli_w
from msgspec import Meta, Struct

from crypto import agreement, signing
from crypto.kdf import Part, derive, digest
from federation.config import decode_toml, read_bytes, write_text
from federation.errors import ConfigError
from federation.types import SealingKey, SigningKey

Hex32 = Annotated[str, Meta(pattern=r"^[0-9a-f]{64}\Z")]
Role = Literal["hospital", "coordinator"]
Identifier = Annotated[str, Meta(pattern=r"^[a-z0-9][a-z0-9_-]{0,31}\Z")]


class PublicKeys(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What the roster holds of one party. 32-byte keys in hex. `address` is the coordinator's
    host:port, empty for hospitals.
    """

    id: Identifier
    role: Role = "hospital"
    address: str = ""
    transport: Hex32
    signing: Hex32
    sealing: Hex32

    @property
    def transport_key(self) -> bytes:
        """The CURVE public key, 32 bytes: the party's identity at a socket."""
        return bytes.fromhex(self.transport)

    @property
    def fingerprint(self) -> str:
        """128 bits in eight groups of four, to be read aloud over the telephone."""
        return readable(
            digest(
                "party",
                self.id,
                self.role,
                self.address,
                self.transport,
                self.signing,
                self.sealing,
            )
        )


class Secrets(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One party's secret keys. `own` seeds what only this party may know: its head's start,
    shuffling, rounding.
    """

    id: Identifier
    transport: Hex32
    transport_public: Hex32
    signing: Hex32
    sealing: Hex32
    own: Hex32

    @property
    def transport_pair(self) -> tuple[bytes, bytes]:
        """The CURVE pair (public, secret), 32 bytes each."""
        return bytes.fromhex(self.transport_public), bytes.fromhex(self.transport)

    @property
    def signing_key(self) -> SigningKey:
        return SigningKey(bytes.fromhex(self.signing))

    @property
    def sealing_key(self) -> SealingKey:
        return SealingKey(bytes.fromhex(self.sealing))

    @property
    def own_secret(self) -> bytes:
        return bytes.fromhex(self.own)

    def __repr__(self) -> str:
        return f"Secrets(id={self.id!r}, …)"

    def public(self, role: Role = "hospital", address: str = "") -> PublicKeys:
        return PublicKeys(
            id=self.id,
            role=role,
            address=address,
            transport=self.transport_public,
            signing=signing.public_of(bytes.fromhex(self.signing)).hex(),
            sealing=agreement.public_of(bytes.fromhex(self.sealing)).hex(),
        )


def generate(identifier: str, transport: tuple[bytes, bytes], own: bytes | None = None) -> Secrets:
    """Fresh keys from the operating system. `transport` is a CURVE pair (public, secret), 32 bytes
    each.

    `own` is given only by a simulation, which derives it from its seed; keys never come from a
    seed.
    """
    try:
        return msgspec.convert(
            {
                "id": identifier,
                "transport": transport[1].hex(),
                "transport_public": transport[0].hex(),
                "signing": signing.generate().private.hex(),
                "sealing": agreement.generate().private.hex(),
                "own": (own or secrets.token_bytes(32)).hex(),
            },
            Secrets,
        )
    except msgspec.ValidationError:
        raise ConfigError(
            f"--id {identifier!r}: must be 1 to 32 small letters, digits, '-' or '_', and begin"
            " with a letter or digit"
        ) from None


def write(directory: Path, keys: Secrets, public: PublicKeys) -> tuple[Path, Path]:
    """Write `ID.secret` (only its owner may read it) and `ID.pub`. Never overwrites. Raises
    ConfigError.
    """
    secret_path, public_path = directory / f"{keys.id}.secret", directory / f"{keys.id}.pub"
    try:
        directory.mkdir(parents=True, exist_ok=True)
        if public_path.exists():
            raise FileExistsError
        descriptor = os.open(secret_path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        taken = public_path if public_path.exists() else secret_path
        raise ConfigError(
            f"{taken}: exists; keys are never overwritten, move it away first"
        ) from None
    except OSError as error:
        raise ConfigError(
            f"{directory}: cannot be written to: {error.strerror}; check the path"
        ) from None
    with os.fdopen(descriptor, "w") as file:
        file.write(tomli_w.dumps(msgspec.to_builtins(keys)))
    write_text(public_path, tomli_w.dumps(msgspec.to_builtins(public)))
    return secret_path, public_path


def read_secret(path: Path) -> Secrets:
    """Load `ID.secret`. Raises ConfigError, also where others than its owner may read it."""
    text = read_bytes(path)
    if path.stat().st_mode & 0o077:
        raise ConfigError(f"{path}: other users may read it; run: chmod 600 {path}")
    return decode_toml(text, Secrets, str(path))


def read_public(path: Path) -> PublicKeys:
    """Load `ID.pub`. Raises ConfigError."""
    return decode_toml(read_bytes(path), PublicKeys, str(path))


def private_randomness(own_secret: bytes, purpose: str, *info: Part, length: int = 32) -> bytes:
    """Bytes that only the holder of this secret can repeat: its head's start, its shuffling, its
    rounding. Never keys or masks.
    """
    return derive(own_secret, purpose, *info, length=length)


def readable(value: bytes) -> str:
    """The first 128 bits as eight groups of four hex digits."""
    text = value[:16].hex()
    return " ".join(text[i : i + 4] for i in range(0, 32, 4))
