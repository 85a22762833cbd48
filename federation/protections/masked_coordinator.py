"""Masked aggregation, the coordinator's side: what it gathers in each phase and what it sends on.

    Keys → Shares → Uploads → Signatures → Unmasking

Mirrors masked.py step by step. It never holds an unmasked update: each upload is added to the sum
as it came, masks and all. What carries the sum is a `Total`: ring elements here, ciphertexts in
masked_ckks.py.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from crypto import agreement, keystream, sealing, sharing
from crypto.errors import CryptoError
from federation.coding import Coding, Sum
from federation.errors import FaultyHospital, Reason, RoundAborted
from federation.messages import (
    AdvertiseKeys,
    Aggregate,
    Delivery,
    KeyList,
    Message,
    RevealedShare,
    ShareKeys,
    UnmaskRequest,
    UnmaskShares,
    Update,
)
from federation.plan import Binding, Plan
from federation.protections import advertisement, graph
from federation.protections import derivations as derive
from federation.protections.base import (
    Gathering,
    Outcome,
    Signatures,
    most_common_binding,
    signed_sum,
    vector_buffer,
)
from federation.protections.masked import TAG_RING
from federation.types import Digest, HospitalNumber


class Total(Protocol):
    """The sum while masks are still in it."""

    stream: str
    """Which of a hospital's mask streams lies over it."""

    def add(self, who: HospitalNumber, message: Update, transcript: Digest) -> None:
        """One hospital's upload, whole or not at all. Raises FaultyHospital."""

    def unmask(self, streams: Iterable[tuple[bytes, int]]) -> None:
        """Take out what is left of the masks: (key, sign) each, as for `keystream.apply`."""

    def wire(self) -> tuple[Any, ...]:
        """The buffers of the aggregate."""

    def read(self, aggregate: Aggregate) -> Sum | None:
        """What the coordinator sees of the sum. Raises CryptoError where it cannot be one."""


class RingTotal:
    """The sum as one vector of ring elements."""

    stream = "vector"

    def __init__(self, coding: Coding) -> None:
        self.coding, self.ring = coding, coding.ring_type
        self.elements = np.zeros(coding.elements, self.ring.dtype)

    def add(self, who: HospitalNumber, message: Update, transcript: Digest) -> None:
        self.ring.add_into(self.elements, vector_buffer(self.coding, who, message))

    def unmask(self, streams: Iterable[tuple[bytes, int]]) -> None:
        keystream.apply(self.elements, streams, self.ring)

    def wire(self) -> tuple[Any, ...]:
        return (self.ring.to_wire(self.elements),)

    def read(self, aggregate: Aggregate) -> Sum:
        return self.coding.decode(signed_sum(self.coding, aggregate), len(aggregate.survivors))


@dataclass(frozen=True, repr=False)
class _Round:
    """What the coordinator remembers of a round's keys and commitments."""

    context: Digest
    transcript: Digest
    adverts: dict[HospitalNumber, AdvertiseKeys]
    dealt: dict[HospitalNumber, ShareKeys]


@dataclass(kw_only=True)
class Keys(Gathering):
    phase = "advertise_keys"
    expects = AdvertiseKeys
    carrier: Callable[[Plan], Total]
    probe: agreement.Agreements = field(
        default_factory=lambda: agreement.Agreements(agreement.generate().private), repr=False
    )
    """Agrees with every advertised key, so that one that agrees with nobody stops its owner only.
    """

    def accept(self, who: HospitalNumber, message: AdvertiseKeys) -> None:
        if message.sender != who:
            raise FaultyHospital(who, "advertised keys in another's name", Reason.MALFORMED)
        advertisement.check(self.plan, Binding(message.model, message.group_key), message)
        try:
            for key in (message.mask_key, message.channel_key):
                self.probe.secret(key)
        except CryptoError:
            raise FaultyHospital(who, "advertised an unusable key", Reason.MALFORMED) from None
        self.received[who] = message

    def close(self) -> tuple[Gathering, dict[HospitalNumber, Message]]:
        self.require(len(self.received), self.phase)
        binding, strangers = most_common_binding(
            {who: Binding(m.model, m.group_key) for who, m in self.received.items()}
        )
        for who in strangers:
            del self.received[who]
            self.faults.append(
                FaultyHospital(
                    who, "stands at another model or group key than most", Reason.CONTEXT
                )
            )
        numbers = self.present
        self.require(len(numbers), "advertise_keys")
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
class Shares(Gathering):
    phase = "share_keys"
    expects = ShareKeys
    carrier: Callable[[Plan], Total]
    binding: Binding
    adverts: dict[HospitalNumber, AdvertiseKeys]
    digests: tuple[Digest, ...]

    def accept(self, who: HospitalNumber, message: ShareKeys) -> None:
        count = len(self.adverts[who].holders)
        if any(
            len(column) != count
            for column in (message.sealed, message.commitments, message.signatures)
        ):
            raise FaultyHospital(
                who, "did not deal exactly one share to each of its holders", Reason.MALFORMED
            )
        # larger ones burst a Delivery
        if any(
            box is not None and len(box) != derive.BOX_BYTES + sealing.OVERHEAD
            for box in message.sealed
        ):
            raise FaultyHospital(who, "sealed something else than shares", Reason.MALFORMED)
        self.received[who] = message

    def close(self) -> tuple[Gathering, dict[HospitalNumber, Message]]:
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
        known = _Round(
            context,
            derive.transcript(context, numbers, self.digests, members),
            self.adverts,
            dict(self.received),
        )
        return (
            Uploads(
                plan=self.plan,
                awaited=members,
                faults=self.faults,
                known=known,
                total=self.carrier(self.plan),
            ),
            messages,
        )


@dataclass(kw_only=True)
class Uploads(Gathering):
    """Adds each complete upload to the sum and forgets it: memory does not grow with the cohort."""

    phase = "masked_update"
    expects = Update
    granted = True
    known: _Round
    total: Total
    word: int = 0

    def accept(self, who: HospitalNumber, message: Update) -> None:
        if message.tag is None:
            raise FaultyHospital(who, "uploaded no tag", Reason.MALFORMED)
        self.total.add(who, message, self.known.transcript)
        self.word = (self.word + int.from_bytes(message.tag, "little")) % 2**64
        self.received[who] = None

    def close(self) -> tuple[Gathering, dict[HospitalNumber, Message]]:
        def proceed(signed: Signatures) -> tuple[Gathering, dict[HospitalNumber, Message]]:
            request = UnmaskRequest(
                round=self.plan.round,
                survivors=signed.survivors,
                signers=signed.present,
                signatures=tuple(signed.received[who] for who in signed.present),
            )
            state = Unmasking(
                plan=self.plan,
                awaited=signed.survivors,
                faults=self.faults,
                known=self.known,
                total=self.total,
                word=self.word,
                request=request,
            )
            return state, {who: request for who in signed.survivors}

        return Signatures.ask(self, self.known.context, self.known.transcript, proceed)


@dataclass(kw_only=True)
class Unmasking(Gathering):
    phase = "unmask"
    expects = UnmaskShares
    known: _Round
    total: Total
    word: int
    request: UnmaskRequest
    self_shares: dict[HospitalNumber, dict[HospitalNumber, bytes]] = field(default_factory=dict)
    key_shares: dict[HospitalNumber, dict[HospitalNumber, bytes]] = field(default_factory=dict)
    complaints: dict[HospitalNumber, list[HospitalNumber]] = field(default_factory=dict)
    """Dealer → who could not use what it sealed for them. Nobody else can see which of the two is
    at fault.
    """

    def accept(self, who: HospitalNumber, message: UnmaskShares) -> None:
        alive, bad = set(self.request.survivors), set(message.bad_dealers)
        dealers = {owner for owner in self.known.dealt if who in self.known.adverts[owner].holders}
        if not bad <= dealers - {who}:
            raise FaultyHospital(who, "complains of hospitals that dealt it nothing", Reason.SHARE)
        mine = dealers - bad
        columns = (("self", message.self_shares, alive), ("key", message.key_shares, mine - alive))
        for what, shares, owners in columns:
            if [share.owner for share in shares] != sorted(
                owner for owner in mine if owner in owners
            ):
                raise FaultyHospital(
                    who, "revealed shares of others than it was asked for", Reason.SHARE
                )
            for share in shares:
                if not self._committed(what, share, who):
                    raise FaultyHospital(
                        who, f"revealed a wrong share of hospital {share.owner}", Reason.SHARE
                    )
        for share in message.self_shares:
            self.self_shares.setdefault(share.owner, {})[who] = share.share
        for share in message.key_shares:
            self.key_shares.setdefault(share.owner, {})[who] = share.share
        for dealer in sorted(bad):
            self.complaints.setdefault(dealer, []).append(who)
        self.received[who] = None

    def _committed(self, what: str, share: RevealedShare, holder: HospitalNumber) -> bool:
        owner = share.owner
        both = self.known.dealt[owner].commitments[self.known.adverts[owner].holders.index(holder)]
        found = derive.commitment(self.known.context, what, owner, holder, share.share, share.salt)
        return found == (both[:32] if what == "self" else both[32:])

    def _secret(
        self, shares: dict[HospitalNumber, dict[HospitalNumber, bytes]], owner: HospitalNumber
    ) -> bytes:
        threshold = graph.share_threshold(self.plan)
        held = shares.get(owner, {})
        if len(held) < threshold:
            raise RoundAborted(
                f"unmask: {len(held)} shares of hospital {owner}'s secret, {threshold} are needed",
                Reason.SHARE if owner in self.complaints else Reason.THRESHOLD,
            )
        try:
            return sharing.combine(held, threshold)
        except CryptoError:
            raise self._inconsistent(owner) from None

    def _inconsistent(self, owner: HospitalNumber) -> RoundAborted:
        self.faults.append(
            FaultyHospital(
                owner, "dealt shares that do not give the secret it committed to", Reason.SHARE
            )
        )
        return RoundAborted(f"unmask: hospital {owner} dealt inconsistent shares", Reason.SHARE)

    def _streams(
        self,
        name: str,
        seeds: dict[HospitalNumber, bytes],
        dropouts: dict[HospitalNumber, agreement.Agreements],
    ) -> list[tuple[bytes, int]]:
        """Everything that is still in the sum, with the sign that takes it out."""
        transcript, members = self.known.transcript, tuple(sorted(self.known.dealt))
        holders_of = {who: self.known.adverts[who].holders for who in members}
        alive = set(self.request.survivors)
        keys = [
            (derive.self_stream(seed, transcript, who, name), -1) for who, seed in seeds.items()
        ]
        for gone, agreements in dropouts.items():
            for other in graph.neighbours(gone, members, holders_of):
                if other in alive:
                    key = derive.pair_stream(
                        agreements.secret(self.known.adverts[other].mask_key),
                        transcript,
                        gone,
                        other,
                        name,
                    )
                    keys.append((key, -derive.pair_sign(other, gone)))
        return keys

    def close(self) -> tuple[Outcome, dict[HospitalNumber, Message]]:
        for dealer, holders in sorted(self.complaints.items()):
            text = f"dealt what hospitals {holders} could not use: either it or they are at fault"
            self.faults.append(FaultyHospital(dealer, text, Reason.SHARE))
        known, survivors = self.known, self.request.survivors
        seeds = {who: self._secret(self.self_shares, who) for who in survivors}
        for who, seed in seeds.items():
            if derive.seed_commitment(known.context, who, seed) != known.dealt[who].seed_commitment:
                raise self._inconsistent(who)
        privates = {
            who: self._secret(self.key_shares, who)
            for who in sorted(set(known.dealt) - set(survivors))
        }
        for who, private in privates.items():
            if agreement.public_of(private) != known.adverts[who].mask_key:
                raise self._inconsistent(who)
        gone = {who: agreement.Agreements(private) for who, private in privates.items()}
        self.total.unmask(self._streams(self.total.stream, seeds, gone))
        word = np.array([self.word], TAG_RING.dtype)
        keystream.apply(word, self._streams("tag", seeds, gone), TAG_RING)
        aggregate = Aggregate(
            round=self.plan.round,
            survivors=survivors,
            transcript=known.transcript,
            signers=self.request.signers,
            signatures=self.request.signatures,
            tag=word.tobytes(),
            buffers=self.total.wire(),
        )
        try:
            total = self.total.read(aggregate)
        except CryptoError as error:
            raise RoundAborted(f"unmask: {error}", Reason.RANGE) from None
        return Outcome(aggregate, total), {}


def open_round(plan: Plan, carrier: Callable[[Plan], Total] | None = None) -> Keys:
    """The state in which a masked round begins."""
    return Keys(
        plan=plan, awaited=plan.cohort, carrier=carrier or (lambda plan: RingTotal(plan.coding))
    )
