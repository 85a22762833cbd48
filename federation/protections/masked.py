"""Masked aggregation: Bonawitz et al. 2017 (eprint 2017/281) in its active setting, a hospital's
steps in the order they happen.

    advertise_keys → share_keys → receive_shares → protect → sign → unmask → open_aggregate

The coordinator learns the sum of the survivors' coded vectors and nothing else, as long as fewer
than 2t − n hospitals help it. The coordinator's side is in masked_coordinator.py; docs/protocol.md
has every message, docs/threat-model.md what this does not give.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import msgspec
import numpy as np

from crypto import agreement, keystream, sealing, sharing, signing
from crypto.errors import CryptoError
from crypto.ring import Ring
from crypto.tag import Tagger, expected
from federation.coding import Sum
from federation.errors import (
    FaultyCoordinator,
    FaultyHospital,
    LocalProtocolError,
    Reason,
    RoundAborted,
)
from federation.groupkey import GroupKey
from federation.messages import (
    AdvertiseKeys,
    Aggregate,
    Consistency,
    Delivery,
    Grant,
    KeyList,
    RevealedShare,
    ShareKeys,
    Survivors,
    UnmaskRequest,
    UnmaskShares,
    Update,
)
from federation.plan import Binding, Plan
from federation.protections import advertisement, graph
from federation.protections import derivations as derive
from federation.protections.base import (
    LocalInputs,
    State,
    check_signatures,
    check_survivors,
    sign_survivors,
    signed_sum,
)
from federation.types import Digest, HospitalNumber

TAG_RING = Ring(64)
Bind = Callable[[Digest, GroupKey | None], Binding]


def bind(model_digest: Digest, group: GroupKey | None) -> Binding:
    """Under masks the coordinator may know the model: its digest stands in the context as it is."""
    if group is None:
        raise FaultyCoordinator(
            "started a round before the hospitals had a group key", Reason.UNEXPECTED
        )
    return Binding(model_digest, group.identifier)


# ---- hospital ------------------------------------------------------------------------


@dataclass(frozen=True, repr=False)
class _Keys:
    """The round's own secrets."""

    mask: agreement.KeyPair
    channel: agreement.KeyPair
    seed: bytes
    holders: tuple[HospitalNumber, ...]

    @cached_property
    def masks(self) -> agreement.Agreements:
        return agreement.Agreements(self.mask.private)

    @cached_property
    def channels(self) -> agreement.Agreements:
        return agreement.Agreements(self.channel.private)


@dataclass(frozen=True, repr=False)
class _Held:
    """What this hospital holds of the others' secrets, by dealer, itself included; and U2 with the
    transcript.
    """

    members: tuple[HospitalNumber, ...]
    transcript: Digest
    self_shares: dict[HospitalNumber, RevealedShare]
    key_shares: dict[HospitalNumber, RevealedShare]
    bad_dealers: tuple[HospitalNumber, ...]


@dataclass
class Advertised(State):
    keys: _Keys


@dataclass
class Shared(State):
    keys: _Keys
    adverts: dict[HospitalNumber, AdvertiseKeys]
    numbers: tuple[HospitalNumber, ...]
    digests: tuple[Digest, ...]
    own_shares: tuple[RevealedShare, RevealedShare]


@dataclass
class Keyed(State):
    keys: _Keys
    adverts: dict[HospitalNumber, AdvertiseKeys]
    held: _Held


@dataclass
class Masked(State):
    held: _Held
    clipped: int


@dataclass
class Signed(State):
    held: _Held
    survivors: tuple[HospitalNumber, ...]


@dataclass
class Unmasked(State):
    """Waits for the aggregate. Every secret of the round is gone."""

    survivors: tuple[HospitalNumber, ...]


def advertise_keys(
    plan: Plan,
    own: LocalInputs,
    random: Callable[[int], bytes] = secrets.token_bytes,
    standing: Bind = bind,
) -> tuple[Advertised, AdvertiseKeys]:
    """Fresh keys for this round, signed over its context. `standing` says what the coordinator may
    know of the model.
    """
    binding = standing(own.model_digest, own.group)
    keys = _Keys(
        agreement.generate(), agreement.generate(), random(32), graph.holders(plan, own.number)
    )
    state = Advertised(plan, own, binding, keys)
    advert = AdvertiseKeys(
        round=plan.round,
        sender=own.number,
        model=binding.model,
        group_key=binding.group_key,
        mask_key=keys.mask.public,
        channel_key=keys.channel.public,
        holders=keys.holders,
        signature=bytes(64),
    )
    signature = signing.sign(
        own.signing_key, "advertise-keys", *advertisement.signed_parts(state.context, advert)
    )
    return state, msgspec.structs.replace(advert, signature=signature)


def share_keys(state: Advertised, received: KeyList) -> tuple[Shared, ShareKeys]:
    """Check every neighbour's advertisement against our own roster and context, then deal shares of
    both secrets.
    """
    plan, me = state.plan, state.own.number
    numbers, digests = received.numbers, received.digests
    if (
        list(numbers) != sorted(set(numbers))
        or len(numbers) != len(digests)
        or not set(numbers) <= set(plan.cohort)
    ):
        raise FaultyCoordinator("listed keys of others than the cohort", Reason.COHORT)
    if me not in numbers or len(numbers) < max(plan.threshold, plan.min_cohort):
        raise FaultyCoordinator(
            f"listed keys of {len(numbers)} hospitals, too few or without ours", Reason.THRESHOLD
        )
    listed = dict(zip(numbers, digests, strict=True))
    adverts: dict[HospitalNumber, AdvertiseKeys] = {}
    for advert in received.advertised:
        if advert.sender in adverts or listed.get(advert.sender) != advertisement.digest_of(advert):
            raise FaultyCoordinator("relayed keys that are not the listed ones", Reason.UNEXPECTED)
        try:
            advertisement.check(plan, state.binding, advert)
        # the coordinator checks the same, and would not have relayed it
        except FaultyHospital as error:
            raise FaultyCoordinator(
                f"relayed keys of hospital {error.who}, which {error.what}", error.reason
            ) from None
        adverts[advert.sender] = advert
    if (
        me not in adverts
        or adverts[me].mask_key != state.keys.mask.public
        or adverts[me].channel_key != state.keys.channel.public
    ):
        raise FaultyCoordinator("relayed other keys as ours", Reason.UNEXPECTED)
    if any(holder in listed and holder not in adverts for holder in state.keys.holders):
        raise FaultyCoordinator("kept back the keys of a neighbour", Reason.UNEXPECTED)
    own_shares, message = _deal(state, adverts)
    return (
        Shared(plan, state.own, state.binding, state.keys, adverts, numbers, digests, own_shares),
        message,
    )


def _deal(
    state: Advertised, adverts: dict[HospitalNumber, AdvertiseKeys]
) -> tuple[tuple[RevealedShare, RevealedShare], ShareKeys]:
    """Shares of the self-mask seed and of the mask key: one for each holder, committed to and
    sealed. The first pair is our own.
    """
    me, context, keys = state.own.number, state.context, state.keys
    threshold = graph.share_threshold(state.plan)
    self_shares = sharing.split(keys.seed, keys.holders, threshold)
    key_shares = sharing.split(keys.mask.private, keys.holders, threshold)
    seed_commitment = derive.seed_commitment(context, me, keys.seed)
    sealed, commitments, signatures, dealt = [], [], [], {}
    for holder in keys.holders:
        one = RevealedShare(me, self_shares[holder], secrets.token_bytes(derive.SALT_BYTES))
        two = RevealedShare(me, key_shares[holder], secrets.token_bytes(derive.SALT_BYTES))
        dealt[holder] = (one, two)
        both = _commitments(context, holder, one, two)
        commitments.append(both)
        signatures.append(
            signing.sign(
                state.own.signing_key,
                "share",
                *derive.share_parts(context, me, holder, both, seed_commitment),
            )
        )
        if holder == me or holder not in adverts:
            # our own stays here; that of a hospital that is gone already is lost
            sealed.append(None)
            continue
        try:
            key = derive.channel_key(
                context, keys.channels.secret(adverts[holder].channel_key), me, holder
            )
        except CryptoError:
            raise FaultyHospital(
                holder, "advertised an unusable channel key", Reason.MALFORMED
            ) from None
        sealed.append(sealing.seal(key, one.share + one.salt + two.share + two.salt, b""))
    message = ShareKeys(
        round=state.plan.round,
        sealed=tuple(sealed),
        commitments=tuple(commitments),
        signatures=tuple(signatures),
        seed_commitment=seed_commitment,
    )
    return dealt[me], message


def _commitments(
    context: Digest, holder: HospitalNumber, one: RevealedShare, two: RevealedShare
) -> bytes:
    return derive.commitment(
        context, "self", one.owner, holder, one.share, one.salt
    ) + derive.commitment(context, "key", two.owner, holder, two.share, two.salt)


def receive_shares(state: Shared, received: Delivery) -> tuple[Keyed, None]:
    """Open what was dealt to us and compare it with its dealer's signed commitment. A bad share is
    remembered with its dealer.
    """
    plan, me = state.plan, state.own.number
    members = received.members
    if (
        list(members) != sorted(set(members))
        or not set(members) <= set(state.numbers)
        or me not in members
    ):
        raise FaultyCoordinator("delivered shares of others than those listed", Reason.COHORT)
    if len(members) < max(plan.threshold, plan.min_cohort):
        raise FaultyCoordinator(
            f"only {len(members)} hospitals have shared their keys", Reason.THRESHOLD
        )
    if len(set(members) & set(state.keys.holders)) < graph.share_threshold(plan):
        raise RoundAborted("too few holders of this hospital's shares are left", Reason.THRESHOLD)
    dealers = tuple(
        j for j in members if j != me and j in state.adverts and me in state.adverts[j].holders
    )
    columns = (
        received.dealers,
        received.sealed,
        received.commitments,
        received.seed_commitments,
        received.signatures,
    )
    if received.dealers != dealers or any(len(column) != len(dealers) for column in columns):
        raise FaultyCoordinator(
            "did not deliver exactly one share of each dealer", Reason.UNEXPECTED
        )
    self_shares, key_shares = {me: state.own_shares[0]}, {me: state.own_shares[1]}
    bad = []
    for dealer, box, commitments, seed_commitment, signature in zip(*columns, strict=True):
        pair = _open_share(state, dealer, box)
        parts = derive.share_parts(state.context, dealer, me, commitments, seed_commitment)
        if (
            pair is None
            or _commitments(state.context, me, *pair) != commitments
            or not plan.verify(dealer, signature, "share", *parts)
        ):
            bad.append(dealer)
        else:
            self_shares[dealer], key_shares[dealer] = pair
    transcript = derive.transcript(state.context, state.numbers, state.digests, members)
    held = _Held(members, transcript, self_shares, key_shares, tuple(bad))
    return Keyed(plan, state.own, state.binding, state.keys, state.adverts, held), None


def _open_share(
    state: Shared, dealer: HospitalNumber, box: bytes | None
) -> tuple[RevealedShare, RevealedShare] | None:
    if box is None:
        return None
    try:
        secret = state.keys.channels.secret(state.adverts[dealer].channel_key)
        key = derive.channel_key(state.context, secret, dealer, state.own.number)
        plain = sealing.open_sealed(key, box, b"")
    except CryptoError:
        return None
    if len(plain) != derive.BOX_BYTES:
        return None
    half, share = derive.BOX_BYTES // 2, derive.SHARE_BYTES
    return RevealedShare(dealer, plain[:share], plain[share:half]), RevealedShare(
        dealer, plain[half : half + share], plain[half + share :]
    )


def protect(state: Keyed, received: Grant) -> tuple[Masked, Update]:
    """The masked vector and tag: x + self mask ± pairwise masks, mod 2^ring. Exactly one vector per
    seed and stream.
    """
    tagger = new_tagger(state)
    protected = state.plan.coding.protect(
        state.own.contribution, mask_streams(state, "vector"), tagger
    )
    message = Update(
        round=state.plan.round,
        tag=masked_tag(state, tagger),
        signature=None,
        buffers=(protected.wire,),
    )
    return Masked(state.plan, state.own, state.binding, state.held, protected.clipped), message


def mask_streams(state: Keyed, name: str) -> list[tuple[bytes, int]]:
    """(key, sign) of every mask that this hospital adds to what `name` says: `vector`, `parts` or
    `tag`.
    """
    me, transcript = state.own.number, state.held.transcript
    holders_of = {who: advert.holders for who, advert in state.adverts.items()}
    keys = [(derive.self_stream(state.keys.seed, transcript, me, name), 1)]
    for other in graph.neighbours(me, state.held.members, holders_of):
        try:
            key = derive.pair_stream(
                state.keys.masks.secret(state.adverts[other].mask_key), transcript, me, other, name
            )
        except CryptoError:
            raise FaultyHospital(
                other, "advertised an unusable mask key", Reason.MALFORMED
            ) from None
        keys.append((key, derive.pair_sign(me, other)))
    return keys


def new_tagger(state: Keyed) -> Tagger:
    """Takes this hospital's integers and gives their tag."""
    if state.own.group is None:
        raise LocalProtocolError("a masked round without a group key")
    return Tagger(state.own.group.secret, derive.tag_context(state.context, state.held.transcript))


def masked_tag(state: Keyed, tagger: Tagger) -> bytes:
    """The tag under masks of its own, 8 bytes."""
    word = np.array([tagger.tag(state.own.number)], TAG_RING.dtype)
    keystream.apply(word, mask_streams(state, "tag"), TAG_RING)
    return word.tobytes()


def sign(state: Masked, received: Survivors) -> tuple[Signed, Consistency]:
    """Sign the one survivor set of this round. Another set cannot be unmasked with our help after
    this.
    """
    if received.transcript != state.held.transcript:
        raise FaultyCoordinator(
            "has another transcript of this round than this hospital", Reason.CONTEXT
        )
    check_survivors(state.plan, state.held.members, received.survivors, state.own.number)
    message = sign_survivors(state, received.transcript, received.survivors)
    return Signed(state.plan, state.own, state.binding, state.held, received.survivors), message


def unmask(state: Signed, received: UnmaskRequest) -> tuple[Unmasked, UnmaskShares]:
    """Reveal a self-mask share for each survivor, a mask-key share for each dropout, never both of
    one hospital.
    """
    if received.survivors != state.survivors:
        raise FaultyCoordinator(
            "asks to unmask another survivor set than the one signed", Reason.UNEXPECTED
        )
    held, alive = state.held, set(state.survivors)
    check_signatures(
        state.plan,
        state.context,
        held.transcript,
        state.survivors,
        received.signers,
        received.signatures,
    )
    message = UnmaskShares(
        round=state.plan.round,
        self_shares=tuple(share for who, share in sorted(held.self_shares.items()) if who in alive),
        key_shares=tuple(
            share for who, share in sorted(held.key_shares.items()) if who not in alive
        ),
        bad_dealers=held.bad_dealers,
    )
    return Unmasked(state.plan, state.own, state.binding, state.survivors), message


HOSPITAL = {
    (Advertised, KeyList): share_keys,
    (Shared, Delivery): receive_shares,
    (Keyed, Grant): protect,
    (Masked, Survivors): sign,
    (Signed, UnmaskRequest): unmask,
}


def open_aggregate(
    plan: Plan,
    binding: Binding,
    group: GroupKey | None,
    received: Aggregate,
    signed: tuple[HospitalNumber, ...] | None,
) -> Sum:
    """The sum, if at least `threshold` survivors signed for it and its tag says that it is theirs.
    Raises FaultyCoordinator.

    Works for every hospital of the roster; `signed` is the survivor set that this one signed
    itself, if it did.
    """
    if group is None:
        raise FaultyCoordinator(
            "sent an aggregate before this hospital had the group key", Reason.UNEXPECTED
        )
    if signed is not None and received.survivors != signed:
        raise FaultyCoordinator(
            "sent an aggregate over another survivor set than the one signed", Reason.AGGREGATE
        )
    check_survivors(plan, plan.cohort, received.survivors, None)
    if received.transcript is None:
        raise FaultyCoordinator("sent an aggregate without a transcript", Reason.MALFORMED)
    context = plan.context(binding)
    check_signatures(
        plan,
        context,
        received.transcript,
        received.survivors,
        received.signers,
        received.signatures,
    )
    values = signed_sum(plan.coding, received)
    tag = expected(
        group.secret, derive.tag_context(context, received.transcript), received.survivors, values
    )
    if received.tag != tag.to_bytes(8, "little"):
        raise FaultyCoordinator(
            "sent an aggregate that is not the sum of the survivors' updates", Reason.AGGREGATE
        )
    return plan.coding.decode(values, len(received.survivors))
