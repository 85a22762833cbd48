"""The last phase of a masked round: the survivors' shares take the masks out of the sum."""

from __future__ import annotations

from dataclasses import dataclass, field

from crypto import agreement, sharing
from crypto.errors import CryptoError
from federation.errors import FaultyHospital, Reason, RoundAborted
from federation.messages import (
    AdvertiseKeys,
    Aggregate,
    RevealedShare,
    ShareKeys,
    UnmaskRequest,
    UnmaskShares,
)
from federation.protections import derivations as derive
from federation.protections import graph
from federation.protections.gathering import Gathering, Next, Outcome
from federation.protections.masks import Streams, mask_tag
from federation.protections.totals import Total
from federation.types import Digest, HospitalNumber

SharesOf = dict[HospitalNumber, dict[HospitalNumber, bytes]]
"""Owner → holder → share."""


@dataclass(frozen=True, repr=False)
class Known:
    """What the coordinator remembers of a round's keys and commitments."""

    context: Digest
    transcript: Digest
    adverts: dict[HospitalNumber, AdvertiseKeys]
    dealt: dict[HospitalNumber, ShareKeys]

    def committed(self, what: str, share: RevealedShare, holder: HospitalNumber) -> bool:
        """Return True if this is the share that its owner committed to for this holder."""
        owner = share.owner
        both = self.dealt[owner].commitments[self.adverts[owner].holders.index(holder)]
        found = derive.commitment(self.context, what, owner, holder, share.share, share.salt)
        return found == (both[:32] if what == "self" else both[32:])


@dataclass(kw_only=True)
class Unmasking(Gathering[UnmaskShares, None]):
    """Gathers self-mask shares of survivors and mask-key shares of dropouts."""

    phase = "unmask"
    expects = UnmaskShares
    known: Known
    total: Total
    tags: int
    request: UnmaskRequest
    self_shares: SharesOf = field(default_factory=dict)
    key_shares: SharesOf = field(default_factory=dict)
    complaints: dict[HospitalNumber, list[HospitalNumber]] = field(default_factory=dict)
    """Dealer → holders that could not use what it sealed for them. Nobody else can see which of the
    two is at fault.
    """

    def accept(self, who: HospitalNumber, message: UnmaskShares) -> None:
        alive, bad = set(self.request.survivors), set(message.bad_dealers)
        dealers = {owner for owner in self.known.dealt if who in self.known.adverts[owner].holders}
        if not bad <= dealers - {who}:
            raise FaultyHospital(who, "complains of hospitals that dealt it nothing", Reason.SHARE)
        mine = dealers - bad
        columns = (("self", message.self_shares, alive), ("key", message.key_shares, mine - alive))
        for what, shares, owners in columns:
            if [share.owner for share in shares] != sorted(mine & owners):
                raise FaultyHospital(
                    who, "revealed shares of others than it was asked for", Reason.SHARE
                )
            for share in shares:
                if not self.known.committed(what, share, who):
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

    def close(self) -> Next:
        for dealer, holders in sorted(self.complaints.items()):
            text = f"dealt what hospitals {holders} could not use: either it or they are at fault"
            self.faults.append(FaultyHospital(dealer, text, Reason.SHARE))
        known, survivors = self.known, self.request.survivors
        seeds = {who: self._secret(self.self_shares, who) for who in survivors}
        for who, seed in seeds.items():
            if derive.seed_commitment(known.context, who, seed) != known.dealt[who].seed_commitment:
                raise self._inconsistent(who)
        gone: dict[HospitalNumber, agreement.Agreements] = {}
        for who in sorted(set(known.dealt) - set(survivors)):
            private = self._secret(self.key_shares, who)
            if agreement.public_of(private) != known.adverts[who].mask_key:
                raise self._inconsistent(who)
            gone[who] = agreement.Agreements(private)
        self.total.unmask(self._streams(self.total.stream, seeds, gone))
        aggregate = Aggregate(
            round=self.plan.round,
            survivors=survivors,
            transcript=known.transcript,
            signers=self.request.signers,
            signatures=self.request.signatures,
            tag=mask_tag(self.tags, self._streams("tag", seeds, gone)),
            buffers=self.total.wire(),
        )
        try:
            total = self.total.read(aggregate)
        except CryptoError as error:
            raise RoundAborted(f"unmask: {error}", Reason.RANGE) from None
        return Outcome(aggregate, total), {}

    def _secret(self, shares: SharesOf, owner: HospitalNumber) -> bytes:
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
        text = "dealt shares that do not give the secret it committed to"
        self.faults.append(FaultyHospital(owner, text, Reason.SHARE))
        return RoundAborted(f"unmask: hospital {owner} dealt inconsistent shares", Reason.SHARE)

    def _streams(
        self,
        name: str,
        seeds: dict[HospitalNumber, bytes],
        dropouts: dict[HospitalNumber, agreement.Agreements],
    ) -> Streams:
        """Return the masks that are still in a stream, with the sign that takes each out."""
        transcript, members = self.known.transcript, tuple(sorted(self.known.dealt))
        holders_of = {who: self.known.adverts[who].holders for who in members}
        alive = set(self.request.survivors)
        keys = [
            (derive.self_stream(seed, transcript, who, name), -1) for who, seed in seeds.items()
        ]
        for gone, agreements in dropouts.items():
            for other in graph.neighbours(gone, members, holders_of):
                if other in alive:
                    secret = agreements.secret(self.known.adverts[other].mask_key)
                    key = derive.pair_stream(secret, transcript, gone, other, name)
                    keys.append((key, -derive.pair_sign(other, gone)))
        return keys
