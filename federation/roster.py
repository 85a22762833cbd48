"""The roster: who is in the federation, with which keys. Every party holds the same one and
compares its fingerprint out of band.

A hospital's *number* is its place in the roster sorted by id; the protocol speaks of numbers,
people of ids.
"""

from __future__ import annotations

from functools import cached_property
from pathlib import Path

import msgspec
import tomli_w
from msgspec import Struct

from crypto.kdf import digest
from federation.config import decode_toml, read_bytes, write_text
from federation.errors import ConfigError
from federation.keys import PublicKeys, readable
from federation.types import Digest, HospitalNumber


class _RosterFile(Struct, frozen=True, forbid_unknown_fields=True):
    coordinator: PublicKeys
    hospital: list[PublicKeys] = []


class Roster:
    """Admitted parties. `hospitals[i]` is hospital number i. Immutable."""

    def __init__(self, coordinator: PublicKeys, hospitals: list[PublicKeys]) -> None:
        self.coordinator = coordinator
        self.hospitals = tuple(sorted(hospitals, key=lambda party: party.id))
        for field in ("id", "transport", "signing", "sealing"):
            values = [getattr(party, field) for party in (coordinator, *self.hospitals)]
            if len(set(values)) != len(values):
                raise ConfigError(
                    f"roster: two parties have the same {field}; every party makes its own keys"
                    " with `flop keygen`"
                )
        if coordinator.role != "coordinator" or not coordinator.address:
            raise ConfigError(
                "roster: [coordinator] needs role = 'coordinator' and an address; make it with"
                " `flop keygen --coordinator`"
            )
        if any(party.role != "hospital" for party in self.hospitals):
            raise ConfigError("roster: only one party may have the role of coordinator")

    @cached_property
    def digest(self) -> Digest:
        """32 bytes that stand for all ids and keys, in the order of their ids."""
        parties = (self.coordinator, *self.hospitals)
        return Digest(digest("roster", *(msgspec.msgpack.encode(party) for party in parties)))

    @property
    def fingerprint(self) -> str:
        return readable(self.digest)

    @cached_property
    def _numbers(self) -> dict[bytes, HospitalNumber]:
        return {
            party.transport_key: HospitalNumber(number)
            for number, party in enumerate(self.hospitals)
        }

    @cached_property
    def verify_keys(self) -> tuple[bytes, ...]:
        """Ed25519 public keys, by hospital number."""
        return tuple(bytes.fromhex(party.signing) for party in self.hospitals)

    def number_of(self, transport: bytes) -> HospitalNumber | None:
        """The number of the hospital with this CURVE key (the frame's authenticated user id), or
        None.
        """
        return self._numbers.get(transport)

    def number_named(self, identifier: str) -> HospitalNumber:
        """Raises ConfigError where no hospital has this id."""
        for number, party in enumerate(self.hospitals):
            if party.id == identifier:
                return HospitalNumber(number)
        raise ConfigError(
            f"roster: has no hospital {identifier!r}; it has"
            f" {', '.join(p.id for p in self.hospitals) or 'none'}"
        )

    def id_of(self, number: int) -> str:
        return self.hospitals[number].id

    def transport_of(self, number: int) -> bytes:
        return self.hospitals[number].transport_key

    def __len__(self) -> int:
        return len(self.hospitals)

    def to_toml(self) -> str:
        return tomli_w.dumps(
            {
                "coordinator": msgspec.to_builtins(self.coordinator),
                "hospital": [msgspec.to_builtins(party) for party in self.hospitals],
            }
        )


def read(path: Path) -> Roster:
    """Load `roster.toml`. Raises ConfigError."""
    content = decode_toml(read_bytes(path), _RosterFile, str(path))
    return Roster(content.coordinator, content.hospital)


def add(path: Path, parties: list[PublicKeys]) -> Roster:
    """Add parties to `roster.toml`, or begin one. An id that is there already is replaced only by
    the same keys. Raises ConfigError.
    """
    coordinator: PublicKeys | None = None
    hospitals: list[PublicKeys] = []
    if path.exists():
        known = read(path)
        coordinator, hospitals = known.coordinator, list(known.hospitals)
    for party in parties:
        if party in hospitals or party == coordinator:
            continue
        if party.role == "coordinator":
            if coordinator is not None:
                raise ConfigError(
                    f"{path}: has a coordinator already; begin a new roster for another one"
                )
            coordinator = party
        else:
            hospitals.append(party)
    if coordinator is None:
        raise ConfigError(f"{path}: has no coordinator yet; add the coordinator's .pub file first")
    roster = Roster(coordinator, hospitals)
    write_text(path, roster.to_toml())
    return roster
