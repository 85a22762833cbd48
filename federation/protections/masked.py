"""Masked aggregation: Bonawitz et al. 2017 (eprint 2017/281) in its active setting, a hospital's
steps in the order they happen.

    advertise_keys → share_keys → receive_shares → protect → sign → unmask → open_aggregate

The coordinator learns the sum of the survivors' coded vectors and nothing else, as long as fewer
than 2t − n hospitals help it. The coordinator's side is in masked_coordinator.py and unmasking.py;
docs/protocol.md lists every message, docs/threat-model.md says what this does not give.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from crypto import kdf, signing
from crypto.tag import expected
from federation.coding import Sum
from federation.config import FederationConfig
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
    ShareKeys,
    Survivors,
    UnmaskRequest,
    UnmaskShares,
    Update,
)
from federation.plan import Binding, Plan
from federation.protections import advertisement, graph, masked_coordinator
from federation.protections import derivations as derive
from federation.protections.base import LocalInputs, Protection, Steps, in_clear, no_key
from federation.protections.checks import (
    aggregate_vector,
    check_signatures,
    check_survivors,
    needs_integers,
    needs_majority,
    sign_survivors,
)
from federation.protections.dealing import RoundKeys, commitments, deal, open_box
from federation.protections.masked_states import (
    Advertised,
    Held,
    Keyed,
    Masked,
    Shared,
    Signed,
    Unmasked,
)
from federation.protections.masks import mask_tag, tagger
from federation.protections.sees import Reads, Sees
from federation.types import Digest, HospitalNumber

Bind = Callable[[Digest, GroupKey | None], Binding]


def validate(config: FederationConfig, source: str) -> None:
    """Masks are added in a ring of integers, and two survivor sets must not both be signed."""
    needs_integers(config, source)
    needs_majority(config, source)


def bind(model_digest: Digest, group: GroupKey | None) -> Binding:
    """Under masks the coordinator may know the model, so its digest is signed as it is."""
    if group is None:
        raise FaultyCoordinator(
            "started a round before the hospitals had a group key", Reason.UNEXPECTED
        )
    return Binding(model_digest, group.identifier)


# ---- a hospital's steps --------------------------------------------------------------


def advertise_keys(
    plan: Plan, own: LocalInputs, binding_of: Bind = bind
) -> tuple[Advertised, AdvertiseKeys]:
    """Make fresh keys for this round, and sign them over its context.

    `binding_of` decides what the coordinator may know of the model.
    """
    binding = binding_of(own.model, own.group)
    if binding.group_key is None:
        raise LocalProtocolError("keys are advertised without a group key")
    keys = RoundKeys.fresh(plan, own.number, own.random)
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
    parts = advertisement.signed_parts(state.context, advert)
    signature = signing.sign(own.signing_key, "advertise-keys", *parts)
    return state, msgspec.structs.replace(advert, signature=signature)


def share_keys(state: Advertised, received: KeyList) -> tuple[Shared, ShareKeys]:
    """Check every neighbour's advertisement against our own roster and context, then deal shares of
    both secrets.
    """
    plan, own, me = state.plan, state.own, state.own.number
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
        # The coordinator checks the same, so it should not have relayed this.
        except FaultyHospital as error:
            raise FaultyCoordinator(
                f"relayed keys of hospital {error.who}, which {error.what}", error.reason
            ) from None
        adverts[advert.sender] = advert
    ours = adverts.get(me)
    if ours is None or (ours.mask_key, ours.channel_key) != (
        state.keys.mask.public,
        state.keys.channel.public,
    ):
        raise FaultyCoordinator("relayed other keys as ours", Reason.UNEXPECTED)
    if any(holder in listed and holder not in adverts for holder in state.keys.holders):
        raise FaultyCoordinator("kept back the keys of a neighbour", Reason.UNEXPECTED)
    own_shares, message = deal(
        plan, state.context, me, state.keys, adverts, own.signing_key, own.random
    )
    following = Shared(plan, own, state.binding, state.keys, adverts, numbers, digests, own_shares)
    return following, message


def receive_shares(state: Shared, received: Delivery) -> tuple[Keyed, None]:
    """Open the shares dealt to us, and compare them with their dealers' signed commitments.

    A dealer whose shares cannot be used is remembered.
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
    for dealer, box, committed, seed_commitment, signature in zip(*columns, strict=True):
        pair = open_box(state.context, me, state.keys, state.adverts[dealer], box)
        parts = derive.share_parts(state.context, dealer, me, committed, seed_commitment)
        if (
            pair is None
            or commitments(state.context, me, pair) != committed
            or not plan.verify(dealer, signature, "share", *parts)
        ):
            bad.append(dealer)
        else:
            self_shares[dealer], key_shares[dealer] = pair
    transcript = derive.transcript(state.context, state.numbers, state.digests, members)
    held = Held(members, transcript, self_shares, key_shares, tuple(bad))
    return Keyed(plan, state.own, state.binding, state.keys, state.adverts, held), None


def protect(state: Keyed, received: Grant) -> tuple[Masked, Update]:
    """Send the masked vector and tag: x + self mask ± pairwise masks, mod 2^ring.

    There is exactly one vector for each seed and stream.
    """
    plan, own, held = state.plan, state.own, state.held
    tags = tagger(own.group, state.context, held.transcript)
    protected = plan.coding.protect(own.contribution, state.streams("vector"), tags)
    message = Update(
        round=plan.round,
        tag=mask_tag(tags.tag(own.number), state.streams("tag")),
        signature=None,
        buffers=(protected.wire,),
    )
    return Masked(plan, own, state.binding, held, protected.clipped), message


def sign(state: Masked, received: Survivors) -> tuple[Signed, Consistency]:
    """Sign the one survivor set of this round. No other set can be unmasked with our help."""
    if received.transcript != state.held.transcript:
        raise FaultyCoordinator(
            "has another transcript of this round than this hospital", Reason.CONTEXT
        )
    check_survivors(state.plan, state.held.members, received.survivors, state.own.number)
    signature = sign_survivors(
        state.own.signing_key, state.context, received.transcript, received.survivors
    )
    following = Signed(state.plan, state.own, state.binding, state.held, received.survivors)
    return following, Consistency(round=state.plan.round, signature=signature)


def unmask(state: Signed, received: UnmaskRequest) -> tuple[Unmasked, UnmaskShares]:
    """Reveal a self-mask share for each survivor and a mask-key share for each dropout, never both
    of one hospital.
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


HOSPITAL: Steps = {
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
    """Return the sum, if `threshold` survivors signed for it and its tag is that of their updates.

    Works for every hospital of the roster; `signed` is the survivor set that this one signed
    itself, if it did. Raises FaultyCoordinator.
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
    values = aggregate_vector(plan.coding, received)
    about = derive.tag_context(context, received.transcript)
    tag = expected(group.secret, about, received.survivors, values)
    if not kdf.equal(received.tag or b"", tag.to_bytes(8, "little")):
        raise FaultyCoordinator(
            "sent an aggregate that is not the sum of the survivors' updates", Reason.AGGREGATE
        )
    return plan.coding.decode(values, len(received.survivors))


PROTECTION = Protection(
    name="masked",
    sees=Sees(
        reads=Reads.SUM,
        update="unless {helpers} of the other hospitals help it",
        counts="inside the masked vector",
        sentence=(
            "It saw, for every round, the sum of the updates of all hospitals that took part, and"
            " each of them only under a mask. It knows the shared model. A sum still says something"
            " about the patients behind it, less the more hospitals are in it."
        ),
    ),
    allowed_by_default=True,
    validate=validate,
    sizes=in_clear,
    make_key=no_key,
    bind=bind,
    begin=advertise_keys,
    steps=HOSPITAL,
    open_aggregate=open_aggregate,
    open_round=masked_coordinator.open_round,
)
