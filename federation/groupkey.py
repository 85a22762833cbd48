"""The secret that all hospitals hold and the coordinator does not.

It keys the aggregate's tag; under ckks the group's CKKS key comes with it. One hospital makes it,
and the others get it from hospital to hospital, sealed to keys made for one request. Each epoch has
a new one: at the start of a run, after `key_rounds` rounds, and as soon as a hospital has refused a
decrypted aggregate. An epoch has the number of the first round that it serves, so it only ever
grows, and no party has to remember when it began.

The coordinator relays but cannot read: `StateRequest` carries a fresh X25519 key signed by the
asker, `StateAnswer` another one signed by the source. Both signatures cover run, epoch, asker and
source, so that an answer fits one request only. The box opens only to the holder of both the
request's private key *and* the asker's long-lived sealing key of the roster. Whether all hospitals
hold the *same* key shows in the context that each of them signs in every round (`identifier`).
"""

from __future__ import annotations

from dataclasses import dataclass

import msgspec

from crypto import agreement, sealing, signing
from crypto.errors import CryptoError, InvalidSignature
from crypto.kdf import Part, derive, digest, mac
from federation.errors import FaultyCoordinator, FaultyHospital, Reason
from federation.messages import StateAnswer, StateRequest
from federation.roster import Roster
from federation.types import (
    Digest,
    HospitalNumber,
    KeyIdentifier,
    Random,
    RunId,
    SealingKey,
    SigningKey,
)


@dataclass(frozen=True)
class GroupKey:
    """`secret`: 32 bytes. `ckks`: the serialised CKKS secret key, empty without ciphertexts."""

    epoch: int
    secret: bytes
    ckks: bytes = b""

    def serves(self, round_: int, key_rounds: int) -> bool:
        """Return True if this key is for this round: neither too old nor made for a later one."""
        return 0 <= round_ - self.epoch < key_rounds

    @property
    def identifier(self) -> KeyIdentifier:
        """32 bytes by which two hospitals see that they hold the same key, and no more."""
        hidden = mac(self.secret, "group-key-identifier", self.epoch, digest("ckks-key", self.ckks))
        return KeyIdentifier(hidden)

    def hide(self, model_digest: Digest) -> Digest:
        """A MAC of the model's digest: only who holds the key can test guesses of the model."""
        return Digest(mac(self.secret, "model", model_digest))

    def __repr__(self) -> str:
        return f"GroupKey(epoch={self.epoch}, …)"


class _State(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """What is sealed: the key, and the model file if the asker was behind."""

    epoch: int
    secret: bytes
    ckks: bytes
    model: bytes


@dataclass(frozen=True)
class Asking:
    """A request that waits for its answer; the private half is dropped together with it."""

    request: StateRequest
    private: bytes


def _request_parts(run: RunId, roster: Roster, request: StateRequest) -> tuple[Part, ...]:
    return (
        run,
        roster.digest,
        request.epoch,
        request.asker,
        request.source,
        request.applied,
        request.public,
    )


def ask(
    run: RunId,
    roster: Roster,
    *,
    me: HospitalNumber,
    source: HospitalNumber,
    epoch: int,
    applied: int,
    signing_key: SigningKey,
    random: Random,
) -> Asking:
    """Ask `source` for the key of `epoch`, and for its model if that is of a round after `applied`.

    Returns:
        The signed request, to be sent, with the private key that opens the answer.
    """
    pair = agreement.generate(random)
    request = StateRequest(
        epoch=epoch,
        asker=me,
        source=source,
        applied=applied,
        public=pair.public,
        signature=bytes(64),
    )
    signature = signing.sign(signing_key, "state-request", *_request_parts(run, roster, request))
    return Asking(msgspec.structs.replace(request, signature=signature), pair.private)


def asked_by(run: RunId, roster: Roster, request: StateRequest) -> bool:
    """Return True if the request is signed by the hospital that it names as its asker."""
    try:
        signing.verify(
            roster.verify_keys[request.asker],
            request.signature,
            "state-request",
            *_request_parts(run, roster, request),
        )
    except (InvalidSignature, IndexError):
        return False
    return True


def _sealing_public(roster: Roster, asker: HospitalNumber) -> bytes:
    return bytes.fromhex(roster.hospitals[asker].sealing)


def sealable(roster: Roster, request: StateRequest) -> bool:
    """Return True if an answer can be sealed to both public keys of the asker.

    Called before a request is relayed: a source that must refuse a bad request would look faulty to
    every other hospital that asks it.
    """
    return agreement.usable(request.public) and agreement.usable(
        _sealing_public(roster, request.asker)
    )


def answer(
    run: RunId,
    roster: Roster,
    request: StateRequest,
    key: GroupKey,
    model: bytes,
    *,
    signing_key: SigningKey,
    random: Random,
) -> StateAnswer:
    """Seal `key` and `model` (the bytes of a model file, or empty) for the asker of this request.

    Raises:
        FaultyHospital: If its asker did not sign the request, or sent an unusable public key.
    """
    if not asked_by(run, roster, request):
        raise FaultyHospital(
            request.asker, "did not sign this request for the group key", Reason.SIGNATURE
        )
    pair = agreement.generate(random)
    parts = _request_parts(run, roster, request)
    try:
        secret = agreement.shared_secret(pair.private, request.public) + agreement.shared_secret(
            pair.private, _sealing_public(roster, request.asker)
        )
    except CryptoError:
        raise FaultyHospital(
            request.asker, "sent an unusable public key", Reason.MALFORMED
        ) from None
    box_key = derive(secret, "state-answer", *parts, pair.public)
    plain = msgspec.msgpack.encode(_State(key.epoch, key.secret, key.ckks, model))
    box = sealing.seal(box_key, plain, b"state-answer")
    signature = signing.sign(
        signing_key, "state-answer", *parts, pair.public, digest("sealed-state", box)
    )
    return StateAnswer(
        epoch=request.epoch,
        asker=request.asker,
        source=request.source,
        public=pair.public,
        signature=signature,
        buffers=(box,),
    )


def accept(
    run: RunId, roster: Roster, asking: Asking, received: StateAnswer, sealing_key: SealingKey
) -> tuple[GroupKey, bytes]:
    """Open an answer, with this hospital's long-lived `sealing_key` too.

    Returns:
        The group key, and the bytes of the source's model file (empty if this hospital is not
        behind).

    Raises:
        FaultyCoordinator: If this answers another request, or `source` did not sign it.
        FaultyHospital: If `source` signed what does not open, or sealed a key of another epoch.
    """
    request = asking.request
    if (received.epoch, received.asker, received.source) != (
        request.epoch,
        request.asker,
        request.source,
    ) or len(received.buffers) != 1:
        raise FaultyCoordinator("delivered an answer to another request", Reason.UNEXPECTED)
    parts = _request_parts(run, roster, request)
    box = bytes(received.buffers[0])
    try:
        signing.verify(
            roster.verify_keys[request.source],
            received.signature,
            "state-answer",
            *parts,
            received.public,
            digest("sealed-state", box),
        )
    except InvalidSignature:
        raise FaultyCoordinator(
            f"delivered an answer that hospital {request.source} did not sign", Reason.SIGNATURE
        ) from None
    try:
        secret = agreement.shared_secret(asking.private, received.public) + agreement.shared_secret(
            sealing_key, received.public
        )
        box_key = derive(secret, "state-answer", *parts, received.public)
        state = msgspec.msgpack.decode(
            sealing.open_sealed(box_key, box, b"state-answer"), type=_State
        )
    except (CryptoError, msgspec.DecodeError, msgspec.ValidationError):
        raise FaultyHospital(
            request.source, "sealed a group key that does not open", Reason.MALFORMED
        ) from None
    if state.epoch != request.epoch or len(state.secret) != 32:
        raise FaultyHospital(request.source, "sealed a key of another epoch", Reason.MALFORMED)
    return GroupKey(state.epoch, state.secret, state.ckks), state.model
