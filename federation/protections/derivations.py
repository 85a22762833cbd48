"""Every byte string of a masked round that is signed, hashed or derived. Both roles use it;
docs/protocol.md lists it.
"""

from __future__ import annotations

from crypto.kdf import Part, derive, digest
from federation.types import Digest, HospitalNumber

SHARE_BYTES = 33
SALT_BYTES = 16
BOX_BYTES = 2 * (SHARE_BYTES + SALT_BYTES)
"""One sealed box: share and salt of the self-mask seed, share and salt of the mask key."""


def transcript(
    context: Digest,
    numbers: tuple[HospitalNumber, ...],
    digests: tuple[Digest, ...],
    members: tuple[HospitalNumber, ...],
) -> Digest:
    """All that was advertised, and U2: the hospitals that have shared their keys. Masks, the
    survivors' signatures and the tag are bound to it.
    """
    listed: tuple[Part, ...] = (len(numbers), *numbers, *digests, len(members), *members)
    return Digest(digest("transcript", context, *listed))


def commitment(
    context: Digest,
    what: str,
    dealer: HospitalNumber,
    holder: HospitalNumber,
    share: bytes,
    salt: bytes,
) -> bytes:
    """A salted hash of one share; `what` is `self` or `key`."""
    return digest("share-commitment", context, what, dealer, holder, share, salt)


def seed_commitment(context: Digest, dealer: HospitalNumber, seed: bytes) -> bytes:
    """Needs no salt: the seed has 256 bits of entropy."""
    return digest("seed-commitment", context, dealer, seed)


def share_parts(
    context: Digest,
    dealer: HospitalNumber,
    holder: HospitalNumber,
    commitments: bytes,
    seed: bytes,
) -> tuple[Part, ...]:
    """What a dealer signs for each holder: both commitments, and that of its seed."""
    return (context, dealer, holder, commitments, seed)


def channel_key(
    context: Digest, secret: bytes, dealer: HospitalNumber, holder: HospitalNumber
) -> bytes:
    """The key of one sealed box; `secret` is that of the two channel keys.

    There is one for each direction, round and pair (the context holds run and round), so that it
    seals once.
    """
    return derive(secret, "share-channel", context, dealer, holder)


def pair_stream(
    secret: bytes, transcript_: Digest, one: HospitalNumber, other: HospitalNumber, stream: str
) -> bytes:
    """The key of a pair's stream (`vector`, `parts` or `tag`), the same for both; `secret` is that
    of their mask keys.
    """
    return derive(secret, "pairwise-mask", transcript_, min(one, other), max(one, other), stream)


def pair_sign(who: HospitalNumber, other: HospitalNumber) -> int:
    """The lower number adds the pair's mask, the higher one subtracts it."""
    return 1 if who < other else -1


def self_stream(seed: bytes, transcript_: Digest, who: HospitalNumber, stream: str) -> bytes:
    """The key of a hospital's self mask, one for each stream."""
    return derive(seed, "self-mask", transcript_, who, stream)


def tag_context(context: Digest, transcript_: Digest) -> bytes:
    """What the aggregate's tag is bound to, besides the group's key."""
    return digest("tag-context", context, transcript_)
