"""What a hospital holds between two steps of a masked round. Each state is used once."""

from __future__ import annotations

from dataclasses import dataclass

from federation.messages import AdvertiseKeys, RevealedShare
from federation.protections.base import State
from federation.protections.dealing import Pair, RoundKeys
from federation.protections.masks import Streams, hospital_streams
from federation.types import Digest, HospitalNumber


@dataclass(frozen=True, repr=False)
class Held:
    """What this hospital holds of the others' secrets, by dealer, itself included.

    `members` is U2 of Bonawitz et al. 2017: the hospitals that have shared their keys.
    """

    members: tuple[HospitalNumber, ...]
    transcript: Digest
    self_shares: dict[HospitalNumber, RevealedShare]
    key_shares: dict[HospitalNumber, RevealedShare]
    bad_dealers: tuple[HospitalNumber, ...]


@dataclass
class Advertised(State):
    """Training is done and the keys were sent; expects `KeyList`."""

    keys: RoundKeys


@dataclass
class Shared(State):
    """Shares were dealt; expects `Delivery`."""

    keys: RoundKeys
    adverts: dict[HospitalNumber, AdvertiseKeys]
    numbers: tuple[HospitalNumber, ...]
    digests: tuple[Digest, ...]
    own_shares: Pair


@dataclass
class Keyed(State):
    """All keys are agreed; expects `Grant`."""

    keys: RoundKeys
    adverts: dict[HospitalNumber, AdvertiseKeys]
    held: Held

    def streams(self, name: str) -> Streams:
        """The masks over one of this hospital's streams."""
        held = self.held
        return hospital_streams(
            self.own.number, self.keys, self.adverts, held.members, held.transcript, name
        )


@dataclass
class Masked(State):
    """The masked update was sent; expects `Survivors`."""

    held: Held
    clipped: int


@dataclass
class Signed(State):
    """One survivor set is signed; expects `UnmaskRequest`."""

    held: Held
    survivors: tuple[HospitalNumber, ...]


@dataclass
class Unmasked(State):
    """Waits for the aggregate. Every secret of the round is gone."""

    survivors: tuple[HospitalNumber, ...]
