"""The secret that all hospitals hold and the coordinator does not: it keys the aggregate's tag, and
under ckks it comes with the group's CKKS key. Made by one hospital, sealed from hospital to
hospital over keys made for one request, replaced every epoch: at the run's start, after
`key_rounds` rounds, and as soon as a hospital has refused a decrypted aggregate. An epoch bears the
number of the first round that it serves, so that it only ever grows, and nobody has to remember
when it began.

The coordinator relays but cannot read: `StateRequest` carries a fresh X25519 key signed by the
asker, `StateGrant` another one signed by the source. Both signatures cover run, epoch, asker and
source, so that a grant answers one request only. The box opens only to who has the request's key
*and* the asker's long-lived sealing key of the roster. That all hold the *same* key shows in the
context that every hospital signs in every round (`identifier`).
"""

from __future__ import annotations

from dataclasses import dataclass

import msgspec

from crypto import agreement, sealing, signing
from crypto.errors import CryptoError, InvalidSignature
from crypto.kdf import derive, digest, mac
from federation.errors import FaultyCoordinator, FaultyHospital, Reason
from federation.messages import StateGrant, StateRequest
from federation.roster import Roster


@dataclass(frozen=True)
class GroupKey:
    """`secret`: 32 bytes. `ckks`: the serialised CKKS secret key, empty under masks."""

    epoch: int
    secret: bytes
    ckks: bytes = b""

    def serves(self, round_: int, key_rounds: int) -> bool:
        """Whether this key is for this round: it is not too old, and not made for a later one."""
        return 0 <= round_ - self.epoch < key_rounds

    @property
    def identifier(self) -> bytes:
        """32 bytes that two hospitals compare to see that they hold the same key; says nothing
        about it.
        """
        return mac(self.secret, "group-key-identifier", self.epoch, digest("ckks-key", self.ckks))

    def hide(self, model_digest: bytes) -> bytes:
        """A digest of the model that only key holders can test guesses against."""
        return mac(self.secret, "model", model_digest)

    def __repr__(self) -> str:
        return f"GroupKey(epoch={self.epoch}, …)"


class _State(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """What is sealed: the key, and the model file where the asker was behind."""

    epoch: int
    secret: bytes
    ckks: bytes
    model: bytes


@dataclass(frozen=True)
class Asking:
    """A request that waits for its grant; the private half is dropped with it."""

    request: StateRequest
    private: bytes


def _request_parts(run: bytes, roster: Roster, request: StateRequest) -> tuple[bytes | int, ...]:
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
    run: bytes, roster: Roster, me: int, source: int, epoch: int, applied: int, signing_key: bytes
) -> Asking:
    """Begin: a request for the key of `epoch`, and for the model if the source is further than
    round `applied`.
    """
    pair = agreement.generate()
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


def asked_by(run: bytes, roster: Roster, request: StateRequest) -> bool:
    """Whether its asker signed this request."""
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


def _agree(private: bytes, roster: Roster, request: StateRequest) -> bytes:
    """With the request's key and with the asker's long-lived one. Raises CryptoError where one of
    them agrees with nobody.
    """
    sealing_key = bytes.fromhex(roster.hospitals[request.asker].sealing)
    return agreement.shared_secret(private, request.public) + agreement.shared_secret(
        private, sealing_key
    )


def sealable(roster: Roster, request: StateRequest) -> bool:
    """Whether a source can seal an answer. The coordinator asks before it relays: who has to refuse
    fails all that ask it.
    """
    try:
        _agree(agreement.generate().private, roster, request)
    except CryptoError:
        return False
    return True


def grant(
    run: bytes,
    roster: Roster,
    request: StateRequest,
    key: GroupKey,
    model: bytes,
    signing_key: bytes,
) -> StateGrant:
    """Answer a peer's request; `model` is the model file or empty. Raises FaultyHospital for a
    request that its asker did not sign.
    """
    if not asked_by(run, roster, request):
        raise FaultyHospital(
            request.asker, "did not sign this request for the group key", Reason.SIGNATURE
        )
    pair = agreement.generate()
    parts = _request_parts(run, roster, request)
    try:
        secret = _agree(pair.private, roster, request)
    except CryptoError:
        raise FaultyHospital(
            request.asker, "sent an unusable public key", Reason.MALFORMED
        ) from None
    box_key = derive(secret, "state-grant", *parts, pair.public)
    plain = msgspec.msgpack.encode(_State(key.epoch, key.secret, key.ckks, model))
    box = sealing.seal(box_key, plain, b"state-grant")
    signature = signing.sign(
        signing_key, "state-grant", *parts, pair.public, digest("sealed-state", box)
    )
    return StateGrant(
        epoch=request.epoch,
        asker=request.asker,
        source=request.source,
        public=pair.public,
        signature=signature,
        buffers=(box,),
    )


def accept(
    run: bytes, roster: Roster, asking: Asking, answer: StateGrant, sealing_key: bytes
) -> tuple[GroupKey, bytes]:
    """Open the grant, with our long-lived `sealing_key` too: the key, and the model file or b"".

    Raises FaultyCoordinator or FaultyHospital(source).
    """
    request = asking.request
    if (answer.epoch, answer.asker, answer.source) != (
        request.epoch,
        request.asker,
        request.source,
    ) or len(answer.buffers) != 1:
        raise FaultyCoordinator("delivered a grant that answers another request", Reason.UNEXPECTED)
    parts = _request_parts(run, roster, request)
    box = bytes(answer.buffers[0])
    try:
        signing.verify(
            roster.verify_keys[request.source],
            answer.signature,
            "state-grant",
            *parts,
            answer.public,
            digest("sealed-state", box),
        )
    except InvalidSignature:
        raise FaultyCoordinator(
            f"delivered a grant that hospital {request.source} did not sign", Reason.SIGNATURE
        ) from None
    try:
        secret = agreement.shared_secret(asking.private, answer.public) + agreement.shared_secret(
            sealing_key, answer.public
        )
        plain = sealing.open_sealed(
            derive(secret, "state-grant", *parts, answer.public), box, b"state-grant"
        )
        state = msgspec.msgpack.decode(plain, type=_State)
    except (CryptoError, msgspec.DecodeError, msgspec.ValidationError):
        raise FaultyHospital(
            request.source, "sealed a group key that does not open", Reason.MALFORMED
        ) from None
    if state.epoch != request.epoch or len(state.secret) != 32:
        raise FaultyHospital(request.source, "sealed a key of another epoch", Reason.MALFORMED)
    return GroupKey(state.epoch, state.secret, state.ckks), state.model
