"""CKKS: hospitals hold one group key, the coordinator adds ciphertexts and can decrypt nothing: no
update, no sum, no model.

    hospital      announce → encrypt → sign → open_aggregate
    coordinator   Announcements → Uploads → Signatures

A hospital that colludes with the coordinator reads its peers' updates; `masked+ckks` closes that.
Both sign ciphertexts and open an aggregate in the same way: `signed_update`, `add_signed` and
`open_sum` are for both.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from crypto import signing, tag
from crypto.ckks import Adder, Encryptor, generate_secret_key
from crypto.errors import CryptoError
from crypto.kdf import digest
from crypto.packing import Packing
from federation.coding import Sum
from federation.config import FederationConfig
from federation.errors import FaultyCoordinator, FaultyHospital, LocalProtocolError, Reason
from federation.groupkey import GroupKey
from federation.messages import Aggregate, Consistency, Grant, Message, Survivors, Update
from federation.plan import Binding, Plan
from federation.protections.base import (
    Gathering,
    LocalInputs,
    Outcome,
    Signatures,
    State,
    check_signatures,
    check_survivors,
    sign_survivors,
)
from federation.protections.derivations import tag_context
from federation.protections.plain import Announcements, ready
from federation.types import Digest, HospitalNumber


def packing(bits: int, cohort: int, masked: bool = False) -> Packing:
    """How values lie in ciphertexts: a function of the config. Raises ConfigOverflow where sums
    could not be exact.
    """
    return Packing(bits, cohort, masked)


def packing_of(plan: Plan, masked: bool = False) -> Packing:
    return packing(plan.coding.bits, plan.coding.parties, masked)


def make_key(config: FederationConfig) -> bytes:
    """A fresh CKKS secret key for the group."""
    return generate_secret_key(
        packing(
            config.protection.bits,
            config.federation.cohort,
            config.protection.kind == "masked+ckks",
        )
    )


def bind(model_digest: Digest, group: GroupKey | None) -> Binding:
    """The coordinator must not be able to test guesses of the model, so its digest goes under the
    group's key.
    """
    if group is None or not group.ckks:
        raise FaultyCoordinator(
            "started a round before the hospitals had a group key", Reason.UNEXPECTED
        )
    return Binding(group.hide(model_digest), group.identifier)


def _transcript(context: Digest) -> Digest:
    return Digest(digest("ckks-transcript", context))


def _update_parts(
    transcript: Digest, who: HospitalNumber, word: bytes, blobs: tuple[Any, ...]
) -> tuple[bytes | int, ...]:
    """What a hospital signs; the transcript holds run, round and all that this round stands on."""
    return (transcript, who, word, digest("ciphertexts", len(blobs), *blobs))


# ---- hospital ------------------------------------------------------------------------


@dataclass
class Announced(State):
    """Trained, and said so."""


@dataclass
class Encrypted(State):
    clipped: int


@dataclass
class Signed(State):
    survivors: tuple[HospitalNumber, ...]


def announce(plan: Plan, own: LocalInputs) -> tuple[Announced, Message]:
    """Sign where this hospital stands."""
    binding = bind(own.model_digest, own.group)
    return Announced(plan, own, binding), ready(plan, own, binding)


def encrypt(state: Announced, received: Grant) -> tuple[Encrypted, Update]:
    """Pack, encrypt, tag, and sign the ciphertexts for this run, round and hospital.

    The tag needs no mask here: its pad is known to hospitals only, and a hospital that colludes
    reads the update anyway.
    """
    plan, own = state.plan, state.own
    if own.group is None:
        raise LocalProtocolError("an encrypted round without a group key")
    values, clipped = plan.coding.integers(own.contribution)
    how, transcript = packing_of(plan), _transcript(state.context)
    blobs = tuple(Encryptor(own.group.ckks, how).encrypt(how.pack(values)))
    word = tag.tag(
        own.group.secret, tag_context(state.context, transcript), own.number, values
    ).to_bytes(8, "little")
    return Encrypted(plan, own, state.binding, clipped), signed_update(
        plan, own, transcript, word, blobs
    )


def signed_update(
    plan: Plan, own: LocalInputs, transcript: Digest, word: bytes, blobs: tuple[bytes, ...]
) -> Update:
    """The upload, signed for this run, round and hospital."""
    signature = signing.sign(
        own.signing_key, "ckks-update", *_update_parts(transcript, own.number, word, blobs)
    )
    return Update(round=plan.round, tag=word, signature=signature, buffers=blobs)


def sign(state: Encrypted, received: Survivors) -> tuple[Signed, Consistency]:
    """Sign the one survivor set of this round."""
    if received.transcript != _transcript(state.context):
        raise FaultyCoordinator(
            "has another transcript of this round than this hospital", Reason.CONTEXT
        )
    check_survivors(state.plan, state.plan.cohort, received.survivors, state.own.number)
    message = sign_survivors(state, received.transcript, received.survivors)
    return Signed(state.plan, state.own, state.binding, received.survivors), message


HOSPITAL = {(Announced, Grant): encrypt, (Encrypted, Survivors): sign}


def open_aggregate(
    plan: Plan,
    binding: Binding,
    group: GroupKey | None,
    received: Aggregate,
    signed: tuple[HospitalNumber, ...] | None,
) -> Sum:
    """Decrypt the sum; it counts only if its tag says that it is the signed survivors'. Raises
    FaultyCoordinator.
    """
    transcript = _transcript(plan.context(binding))
    return open_sum(packing_of(plan), plan, binding, group, received, signed, transcript)


def open_sum(
    how: Packing,
    plan: Plan,
    binding: Binding,
    group: GroupKey | None,
    received: Aggregate,
    signed: tuple[HospitalNumber, ...] | None,
    transcript: Digest,
) -> Sum:
    """What is public first: who survived, and who signed that. Then the ciphertexts and the tag,
    which depend on the key.

    Raises FaultyCoordinator, for every failure of the latter with one reason and one text: a
    difference would tell the coordinator something about the noise. That it failed tells a bit too,
    so the session gives the key up.
    """
    if group is None:
        raise FaultyCoordinator(
            "sent an aggregate before this hospital had the group key", Reason.UNEXPECTED
        )
    if signed is not None and received.survivors != signed:
        raise FaultyCoordinator(
            "sent an aggregate over another survivor set than the one signed", Reason.UNEXPECTED
        )
    check_survivors(plan, plan.cohort, received.survivors, None)
    context = plan.context(binding)
    check_signatures(
        plan, context, transcript, received.survivors, received.signers, received.signatures
    )
    try:
        values = how.unpack(
            Encryptor(group.ckks, how).decrypt(received.buffers), plan.coding.elements
        )
        expected = tag.expected(
            group.secret, tag_context(context, transcript), received.survivors, values
        )
        if received.tag == expected.to_bytes(8, "little"):
            return plan.coding.decode(values, len(received.survivors))
    except CryptoError:
        pass
    raise FaultyCoordinator(
        "sent an aggregate that is not the sum of the survivors' updates", Reason.AGGREGATE
    )


# ---- coordinator ---------------------------------------------------------------------


def add_signed(
    plan: Plan, adder: Adder, who: HospitalNumber, message: Update, transcript: Digest
) -> None:
    """Add one hospital's ciphertexts, all or none. Raises FaultyHospital."""
    parts = _update_parts(transcript, who, message.tag or b"", message.buffers)
    if message.signature is None or not plan.verify(who, message.signature, "ckks-update", *parts):
        raise FaultyHospital(who, "did not sign its ciphertexts for this round", Reason.SIGNATURE)
    try:
        adder.add(message.buffers)
    except CryptoError as error:
        raise FaultyHospital(
            who, f"uploaded what is not the agreed ciphertexts: {error}", Reason.MALFORMED
        ) from None


@dataclass(kw_only=True)
class Uploads(Gathering):
    phase = "update"
    expects = Update
    granted = True
    context: Digest
    adder: Adder
    word: int = 0

    def accept(self, who: HospitalNumber, message: Update) -> None:
        if message.tag is None:
            raise FaultyHospital(who, "uploaded no tag", Reason.MALFORMED)
        add_signed(self.plan, self.adder, who, message, _transcript(self.context))
        self.word = (self.word + int.from_bytes(message.tag, "little")) % 2**64
        self.received[who] = None

    def close(self) -> tuple[Gathering | Outcome, dict[HospitalNumber, Message]]:
        return Signatures.ask(self, self.context, _transcript(self.context), self._finish)

    def _finish(self, signed: Signatures) -> tuple[Outcome, dict[HospitalNumber, Message]]:
        aggregate = Aggregate(
            round=self.plan.round,
            survivors=signed.survivors,
            transcript=signed.transcript,
            signers=signed.present,
            signatures=tuple(signed.received[who] for who in signed.present),
            tag=self.word.to_bytes(8, "little"),
            buffers=tuple(self.adder.result()),
        )
        return Outcome(aggregate, None), {}


def open_round(plan: Plan) -> Announcements:
    """The state in which an encrypted round begins."""

    def proceed(state: Announcements, binding: Binding) -> Gathering:
        adder = Adder(packing_of(plan), plan.coding.elements)
        return Uploads(
            plan=plan,
            awaited=state.present,
            faults=state.faults,
            context=plan.context(binding),
            adder=adder,
        )

    return Announcements(plan=plan, awaited=plan.cohort, proceed=proceed)
