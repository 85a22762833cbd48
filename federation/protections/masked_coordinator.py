"""Masked aggregation, the coordinator's side: what it gathers in each phase and what it sends on.

    Keys → Shares → Uploads → Signatures → Unmasking (unmasking.py)

Mirrors masked.py step by step. It never holds an unmasked update: each upload is added to the sum
as it came, masks and all.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from crypto import agreement, sealing
from federation.errors import FaultyHospital, Reason
from federation.messages import (
    AdvertiseKeys,
    Delivery,
    KeyList,
    Message,
    ShareKeys,
    UnmaskRequest,
    Update,
)
from federation.plan import Binding, Plan
from federation.protections import advertisement, graph
from federation.protections import derivations as derive
from federation.protections.gathering import Gathering, Next, Signatures
from federation.protections.totals import RingTotal, Total
from federation.protections.unmasking import Known, Unmasking
from federation.types import Digest, HospitalNumber

Carrier = Callable[[Plan], Total]


@dataclass(kw_only=True)
class Keys(Gathering[AdvertiseKeys, AdvertiseKeys]):
    """Gathers the advertised keys, and sends each hospital those of its neighbours."""

    phase = "advertise_keys"
    expects = AdvertiseKeys
    carrier: Carrier

    def accept(self, who: HospitalNumber, message: AdvertiseKeys) -> None:
        if message.sender != who:
            raise FaultyHospital(who, "advertised keys in another's name", Reason.MALFORMED)
        advertisement.check(self.plan, Binding(message.model, message.group_key), message)
        # An unusable key stops its owner only, and not all that would agree with it.
        if not (agreement.usable(message.mask_key) and agreement.usable(message.channel_key)):
            raise FaultyHospital(who, "advertised an unusable key", Reason.MALFORMED)
        self.received[who] = message

    def close(self) -> Next:
        binding = self.majority(
            {who: Binding(m.model, m.group_key) for who, m in self.received.items()}
        )
        numbers = self.present
        digests = tuple(advertisement.digest_of(self.received[who]) for who in numbers)
        holders_of = {who: self.received[who].holders for who in numbers}
        messages: dict[HospitalNumber, Message] = {}
        for who in numbers:
            near = sorted([who, *graph.neighbours(who, numbers, holders_of)])
            messages[who] = KeyList(
                round=self.plan.round,
                advertised=tuple(self.received[other] for other in near),
                numbers=numbers,
                digests=digests,
            )
        state = Shares(
            plan=self.plan,
            awaited=numbers,
            faults=self.faults,
            carrier=self.carrier,
            binding=binding,
            adverts=dict(self.received),
            digests=digests,
        )
        return state, messages


@dataclass(kw_only=True)
class Shares(Gathering[ShareKeys, ShareKeys]):
    """Gathers sealed shares, and delivers to each holder those that are for it."""

    phase = "share_keys"
    expects = ShareKeys
    carrier: Carrier
    binding: Binding
    adverts: dict[HospitalNumber, AdvertiseKeys]
    digests: tuple[Digest, ...]

    def accept(self, who: HospitalNumber, message: ShareKeys) -> None:
        count = len(self.adverts[who].holders)
        columns = (message.sealed, message.commitments, message.signatures)
        if any(len(column) != count for column in columns):
            raise FaultyHospital(
                who, "did not deal exactly one share to each of its holders", Reason.MALFORMED
            )
        # A larger box would make another hospital's Delivery longer than the limit.
        length = derive.BOX_BYTES + sealing.OVERHEAD
        if any(box is not None and len(box) != length for box in message.sealed):
            raise FaultyHospital(who, "sealed something else than shares", Reason.MALFORMED)
        self.received[who] = message

    def close(self) -> Next:
        members = self.present
        self.require(len(members), "share_keys")
        place = {
            who: {holder: at for at, holder in enumerate(self.adverts[who].holders)}
            for who in members
        }
        messages: dict[HospitalNumber, Message] = {}
        for holder in members:
            dealers = tuple(who for who in members if who != holder and holder in place[who])
            rows = [(self.received[who], place[who][holder]) for who in dealers]
            messages[holder] = Delivery(
                round=self.plan.round,
                members=members,
                dealers=dealers,
                sealed=tuple(dealt.sealed[at] for dealt, at in rows),
                commitments=tuple(dealt.commitments[at] for dealt, at in rows),
                seed_commitments=tuple(dealt.seed_commitment for dealt, _ in rows),
                signatures=tuple(dealt.signatures[at] for dealt, at in rows),
            )
        context = self.plan.context(self.binding)
        numbers = tuple(sorted(self.adverts))
        transcript = derive.transcript(context, numbers, self.digests, members)
        state = Uploads(
            plan=self.plan,
            awaited=members,
            faults=self.faults,
            known=Known(context, transcript, self.adverts, dict(self.received)),
            total=self.carrier(self.plan),
        )
        return state, messages


@dataclass(kw_only=True)
class Uploads(Gathering[Update, None]):
    """Adds each complete upload to the sum and forgets it: memory does not grow with the cohort."""

    phase = "masked_update"
    expects = Update
    granted = True
    known: Known
    total: Total
    tags: int = 0
    """Sum of the masked tags, mod 2^64."""

    def accept(self, who: HospitalNumber, message: Update) -> None:
        if message.tag is None:
            raise FaultyHospital(who, "uploaded no tag", Reason.MALFORMED)
        self.total.add(who, message, self.known.transcript)
        self.tags = (self.tags + int.from_bytes(message.tag, "little")) % 2**64
        self.received[who] = None

    def close(self) -> Next:
        return Signatures.ask(self, self.known.context, self.known.transcript, self._unmask)

    def _unmask(self, signed: Signatures) -> Next:
        request = UnmaskRequest(
            round=self.plan.round,
            survivors=signed.survivors,
            signers=signed.present,
            signatures=signed.signatures,
        )
        state = Unmasking(
            plan=self.plan,
            awaited=signed.survivors,
            faults=self.faults,
            known=self.known,
            total=self.total,
            tags=self.tags,
            request=request,
        )
        return state, {who: request for who in signed.survivors}


def in_ring(plan: Plan) -> RingTotal:
    """The sum of a masked round that starts at zero."""
    return RingTotal(plan.coding)


def open_round(plan: Plan, carrier: Carrier = in_ring) -> Keys:
    """Return the state in which a masked round begins."""
    return Keys(plan=plan, awaited=plan.cohort, carrier=carrier)
