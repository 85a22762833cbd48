"""A hospital's secrets of one masked round, and their shares: committed to, signed and sealed."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, partial

from crypto import agreement, draw, sealing, sharing, signing
from crypto.errors import CryptoError
from federation.errors import FaultyHospital, Reason
from federation.messages import AdvertiseKeys, RevealedShare, ShareKeys
from federation.plan import Plan
from federation.protections import derivations as derive
from federation.protections import graph
from federation.types import Digest, HospitalNumber, Random, SigningKey

Pair = tuple[RevealedShare, RevealedShare]
"""A share of the self-mask seed and one of the mask key, of the same dealer for the same holder."""


@dataclass(frozen=True, repr=False)
class RoundKeys:
    """The secrets of one hospital for one round.

    `mask` agrees on pairwise masks and `channel` on sealing keys; `seed` gives the self mask.
    """

    mask: agreement.KeyPair
    channel: agreement.KeyPair
    seed: bytes
    holders: tuple[HospitalNumber, ...]

    @classmethod
    def fresh(cls, plan: Plan, me: HospitalNumber, random: Random) -> RoundKeys:
        """Draw new ones, and the hospitals that will hold their shares."""
        mask, channel = agreement.generate(random), agreement.generate(random)
        return cls(mask, channel, random(32), graph.holders(plan, me, random))

    @cached_property
    def masks(self) -> agreement.Agreements:
        return agreement.Agreements(self.mask.private)

    @cached_property
    def channels(self) -> agreement.Agreements:
        return agreement.Agreements(self.channel.private)


def deal(
    plan: Plan,
    context: Digest,
    me: HospitalNumber,
    keys: RoundKeys,
    adverts: dict[HospitalNumber, AdvertiseKeys],
    signing_key: SigningKey,
    random: Random,
) -> tuple[Pair, ShareKeys]:
    """Share the self-mask seed and the mask key among the holders.

    Returns:
        Our own pair of shares, and the message with the others' pairs, sealed to each holder.

    Raises:
        FaultyHospital: If a holder advertised an unusable channel key.
    """
    threshold, below = graph.share_threshold(plan), partial(draw.below, random)
    self_shares = sharing.split(keys.seed, keys.holders, threshold, below)
    key_shares = sharing.split(keys.mask.private, keys.holders, threshold, below)
    seed_commitment = derive.seed_commitment(context, me, keys.seed)
    sealed: list[bytes | None] = []
    both, signatures, pairs = [], [], {}
    for holder in keys.holders:
        pair = (
            RevealedShare(me, self_shares[holder], random(derive.SALT_BYTES)),
            RevealedShare(me, key_shares[holder], random(derive.SALT_BYTES)),
        )
        pairs[holder] = pair
        both.append(commitments(context, holder, pair))
        parts = derive.share_parts(context, me, holder, both[-1], seed_commitment)
        signatures.append(signing.sign(signing_key, "share", *parts))
        # Our own pair stays here. That of a hospital that has left is lost.
        away = holder == me or holder not in adverts
        sealed.append(None if away else _seal(context, me, keys, adverts[holder], pair))
    message = ShareKeys(
        round=plan.round,
        sealed=tuple(sealed),
        commitments=tuple(both),
        signatures=tuple(signatures),
        seed_commitment=seed_commitment,
    )
    return pairs[me], message


def _seal(
    context: Digest, me: HospitalNumber, keys: RoundKeys, advert: AdvertiseKeys, pair: Pair
) -> bytes:
    try:
        secret = keys.channels.secret(advert.channel_key)
    except CryptoError:
        raise FaultyHospital(
            advert.sender, "advertised an unusable channel key", Reason.MALFORMED
        ) from None
    key = derive.channel_key(context, secret, me, advert.sender)
    return sealing.seal(key, b"".join(part for one in pair for part in (one.share, one.salt)), b"")


def commitments(context: Digest, holder: HospitalNumber, pair: Pair) -> bytes:
    """Return the 64 bytes that a dealer signs for a holder: a commitment to each of the two."""
    return b"".join(
        derive.commitment(context, what, one.owner, holder, one.share, one.salt)
        for what, one in zip(("self", "key"), pair, strict=True)
    )


def open_box(
    context: Digest, me: HospitalNumber, keys: RoundKeys, advert: AdvertiseKeys, box: bytes | None
) -> Pair | None:
    """Return the pair that a dealer sealed for us, or None if the box cannot be opened."""
    if box is None:
        return None
    dealer = advert.sender
    try:
        secret = keys.channels.secret(advert.channel_key)
        plain = sealing.open_sealed(derive.channel_key(context, secret, dealer, me), box, b"")
    except CryptoError:
        return None
    if len(plain) != derive.BOX_BYTES:
        return None
    half, share = derive.BOX_BYTES // 2, derive.SHARE_BYTES
    return (
        RevealedShare(dealer, plain[:share], plain[share:half]),
        RevealedShare(dealer, plain[half : half + share], plain[half + share :]),
    )
