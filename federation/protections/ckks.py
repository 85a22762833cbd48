"""CKKS: hospitals hold one group key; the coordinator adds ciphertexts and can decrypt nothing, no
update, no sum, no model.

    hospital      announce → encrypt → sign → open_aggregate
    coordinator   Announcements → Uploads → Signatures

A hospital that colludes with the coordinator reads its peers' updates; `masked+ckks` prevents that.
Both sign ciphertexts and open an aggregate alike: `signed_update`, `add_signed` and `open_sum` are
for both. Functions that need Microsoft SEAL import it when they are called: reading a config does
not load it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from crypto import kdf, signing, tag
from crypto.errors import ConfigOverflow, CryptoError
from crypto.kdf import Part, digest
from crypto.packing import Packing
from federation.coding import Coding, Sum
from federation.config import FederationConfig
from federation.errors import (
    ConfigError,
    FaultyCoordinator,
    FaultyHospital,
    LocalProtocolError,
    Reason,
)
from federation.groupkey import GroupKey
from federation.messages import Aggregate, Consistency, Grant, Ready, Survivors, Update
from federation.plan import Binding, Plan
from federation.protections.base import LocalInputs, Protection, Sizes, State, Steps
from federation.protections.checks import (
    check_signatures,
    check_survivors,
    needs_integers,
    sign_survivors,
)
from federation.protections.derivations import tag_context
from federation.protections.gathering import Gathering, Next, Outcome, Signatures
from federation.protections.plain import Announcements, ready
from federation.protections.sees import Reads, Sees
from federation.types import Digest, HospitalNumber

if TYPE_CHECKING:
    from crypto.ckks import Adder


def packing(coding: Coding, masked: bool = False) -> Packing:
    """Return how values lie in ciphertexts. Raises ConfigOverflow if sums could not be exact."""
    return Packing(coding.bits, coding.parties, masked)


def sizes(coding: Coding, masked: bool = False) -> Sizes:
    """Ciphertexts with one polynomial and a seed on the way up, with two polynomials down."""
    how = packing(coding, masked)
    count = how.ciphertexts(coding.elements)
    return Sizes(count * how.ciphertext_bytes, count * how.sum_bytes)


def _config_packing(config: FederationConfig, masked: bool) -> Packing:
    return Packing(config.protection.bits, config.federation.cohort, masked)


def validate(config: FederationConfig, source: str, masked: bool = False) -> None:
    """Ciphertexts carry integers, and their sums must be exact."""
    needs_integers(config, source)
    try:
        _config_packing(config, masked)
    except ConfigOverflow as error:
        raise ConfigError(f"{source}: protection.bits: {error}") from None


def make_key(config: FederationConfig, masked: bool = False) -> bytes:
    """A fresh CKKS secret key for the group. SEAL draws it from the operating system."""
    from crypto.ckks import generate_secret_key

    return generate_secret_key(_config_packing(config, masked))


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
) -> tuple[Part, ...]:
    """What a hospital signs; the transcript holds run, round and all that the round rests on."""
    return (transcript, who, word, digest("ciphertexts", len(blobs), *blobs))


# ---- hospital ------------------------------------------------------------------------


@dataclass
class Announced(State):
    """Training is done and `Ready` was sent; expects `Grant`."""


@dataclass
class Encrypted(State):
    """The ciphertexts were sent; expects `Survivors`."""

    clipped: int


@dataclass
class Signed(State):
    """One survivor set is signed; waits for the aggregate."""

    survivors: tuple[HospitalNumber, ...]


def announce(plan: Plan, own: LocalInputs) -> tuple[Announced, Ready]:
    """Sign the model that this hospital starts the round from, under the group's key."""
    binding = bind(own.model, own.group)
    return Announced(plan, own, binding), ready(plan, own, binding)


def encrypt(state: Announced, received: Grant) -> tuple[Encrypted, Update]:
    """Pack, encrypt, tag, and sign the ciphertexts for this run, round and hospital.

    The tag needs no mask here: its pad is known to hospitals only, and a hospital that colludes
    reads the update anyway.
    """
    from crypto.ckks import Encryptor

    plan, own = state.plan, state.own
    if own.group is None:
        raise LocalProtocolError("an encrypted round without a group key")
    values, clipped = plan.coding.integers(own.contribution)
    how, transcript = packing(plan.coding), _transcript(state.context)
    blobs = tuple(Encryptor(own.group.ckks, how).encrypt(how.pack(values)))
    about = tag_context(state.context, transcript)
    word = tag.tag(own.group.secret, about, own.number, values).to_bytes(8, "little")
    following = Encrypted(plan, own, state.binding, clipped)
    return following, signed_update(plan, own, transcript, word, blobs)


def signed_update(
    plan: Plan, own: LocalInputs, transcript: Digest, word: bytes, blobs: tuple[bytes, ...]
) -> Update:
    """The upload, signed for this run, round and hospital. `word`: the tag, 8 bytes."""
    parts = _update_parts(transcript, own.number, word, blobs)
    signature = signing.sign(own.signing_key, "ckks-update", *parts)
    return Update(round=plan.round, tag=word, signature=signature, buffers=blobs)


def sign(state: Encrypted, received: Survivors) -> tuple[Signed, Consistency]:
    """Sign the one survivor set of this round."""
    plan, own = state.plan, state.own
    if received.transcript != _transcript(state.context):
        raise FaultyCoordinator(
            "has another transcript of this round than this hospital", Reason.CONTEXT
        )
    check_survivors(plan, plan.cohort, received.survivors, own.number)
    signature = sign_survivors(
        own.signing_key, state.context, received.transcript, received.survivors
    )
    following = Signed(plan, own, state.binding, received.survivors)
    return following, Consistency(round=plan.round, signature=signature)


HOSPITAL: Steps = {(Announced, Grant): encrypt, (Encrypted, Survivors): sign}


def open_aggregate(
    plan: Plan,
    binding: Binding,
    group: GroupKey | None,
    received: Aggregate,
    signed: tuple[HospitalNumber, ...] | None,
) -> Sum:
    """Decrypt the sum; it counts only if its tag is that of the signed survivors' updates.

    Raises FaultyCoordinator.
    """
    transcript = _transcript(plan.context(binding))
    return open_sum(packing(plan.coding), plan, binding, group, received, signed, transcript)


def open_sum(
    how: Packing,
    plan: Plan,
    binding: Binding,
    group: GroupKey | None,
    received: Aggregate,
    signed: tuple[HospitalNumber, ...] | None,
    transcript: Digest,
) -> Sum:
    """Check what is public first: the survivors, and their signatures. Then the ciphertexts and the
    tag, which depend on the key.

    Raises:
        FaultyCoordinator: For every failure of the latter with one reason and one text: any
            difference would tell the coordinator something about the noise. That it failed tells a
            bit too, so the session gives the key up.
    """
    from crypto.ckks import Encryptor

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
        about = tag_context(context, transcript)
        expected = tag.expected(group.secret, about, received.survivors, values)
        if kdf.equal(received.tag or b"", expected.to_bytes(8, "little")):
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
class Uploads(Gathering[Update, None]):
    """Adds each complete upload to the encrypted sum and forgets it."""

    phase = "update"
    expects = Update
    granted = True
    context: Digest
    adder: Adder
    tags: int = 0
    """Sum of the tags, mod 2^64."""

    def accept(self, who: HospitalNumber, message: Update) -> None:
        if message.tag is None:
            raise FaultyHospital(who, "uploaded no tag", Reason.MALFORMED)
        add_signed(self.plan, self.adder, who, message, _transcript(self.context))
        self.tags = (self.tags + int.from_bytes(message.tag, "little")) % 2**64
        self.received[who] = None

    def close(self) -> Next:
        return Signatures.ask(self, self.context, _transcript(self.context), self._finish)

    def _finish(self, signed: Signatures) -> Next:
        aggregate = Aggregate(
            round=self.plan.round,
            survivors=signed.survivors,
            transcript=signed.transcript,
            signers=signed.present,
            signatures=signed.signatures,
            tag=self.tags.to_bytes(8, "little"),
            buffers=tuple(self.adder.result()),
        )
        return Outcome(aggregate, None), {}


def open_round(plan: Plan) -> Announcements:
    """Return the state in which an encrypted round begins."""
    from crypto.ckks import Adder

    def proceed(state: Announcements, binding: Binding) -> Uploads:
        return Uploads(
            plan=plan,
            awaited=state.present,
            faults=state.faults,
            context=plan.context(binding),
            adder=Adder(packing(plan.coding), plan.coding.elements),
        )

    return Announcements(plan=plan, awaited=plan.cohort, proceed=proceed)


PROTECTION = Protection(
    name="ckks",
    sees=Sees(
        reads=Reads.NOTHING,
        update="unless a single hospital gives it the group's key",
        counts="inside the ciphertexts",
        sentence=(
            "It saw ciphertexts only, and not even the shared model after round 1. All hospitals"
            " hold the one key: a hospital that gave it to the coordinator would open every other"
            " hospital's updates."
        ),
    ),
    allowed_by_default=True,
    validate=validate,
    sizes=sizes,
    make_key=make_key,
    bind=bind,
    begin=announce,
    steps=HOSPITAL,
    open_aggregate=open_aggregate,
    open_round=open_round,
)
