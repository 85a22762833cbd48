"""All messages. Each is frozen, validated strictly, and known on the wire by a small number only.

Hospitals are named by their roster number; rounds count from 1. Fixed lengths are part of the types
here. Lengths that depend on the run (d, n) are checked by the codec's limits and by the
protection's steps. A field that may be absent is `None`. docs/protocol.md lists every message with
its length.

A changed field needs a new `codec.PROTOCOL_VERSION`: tests/vectors/protocol/messages.json holds the
fields and the bytes of every message.
"""

from __future__ import annotations

from typing import Annotated, Any, ClassVar

from msgspec import Meta, Struct

from federation import types

Number = Annotated[types.HospitalNumber, Meta(ge=0, lt=65_536)]
Numbers = Annotated[tuple[Number, ...], Meta(max_length=4096)]
Round = Annotated[int, Meta(ge=0, lt=2**31)]
RunId = Annotated[types.RunId, Meta(min_length=16, max_length=16)]
SessionId = Annotated[types.SessionId, Meta(min_length=16, max_length=16)]
Digest = Annotated[types.Digest, Meta(min_length=32, max_length=32)]
KeyIdentifier = Annotated[types.KeyIdentifier, Meta(min_length=32, max_length=32)]
PublicKey = Annotated[bytes, Meta(min_length=32, max_length=32)]
Commitment = Annotated[bytes, Meta(min_length=32, max_length=32)]
Commitments = Annotated[bytes, Meta(min_length=64, max_length=64)]
Signature = Annotated[bytes, Meta(min_length=64, max_length=64)]
Share = Annotated[bytes, Meta(min_length=33, max_length=33)]
Salt = Annotated[bytes, Meta(min_length=16, max_length=16)]
Tag = Annotated[bytes, Meta(min_length=8, max_length=8)]
Sealed = Annotated[bytes, Meta(min_length=1, max_length=4096)]
# Shown in terminals, so letters only: no control sequences.
Code = Annotated[str, Meta(min_length=1, max_length=16, pattern=r"\A[a-z]+\Z")]
# Bytes-like frames, appended by the codec and measured by it; never decoded from a body.
Buffers = tuple[Any, ...]
Signatures = Annotated[tuple[Signature, ...], Meta(max_length=4096)]


class Message(Struct, frozen=True, array_like=True, forbid_unknown_fields=True, kw_only=True):
    """Base of all messages. `buffers` travel as raw frames after the body and are no part of it."""

    kind: ClassVar[int] = 0
    buffers_allowed: ClassVar[int] = 0


# ---- joining -------------------------------------------------------------------------


class Hello(Message, frozen=True):
    """Hospital: I am connected. `session` is new each time the process starts; `run` is None before
    the first run; `applied` is the round of its shared model.
    """

    kind = 1
    config: Digest
    roster: Digest
    session: SessionId
    run: RunId | None
    applied: Round


class Welcome(Message, frozen=True):
    """Coordinator: the run in progress, and how many rounds it has."""

    kind = 2
    run: RunId
    rounds: Round


class Rejected(Message, frozen=True):
    """Coordinator: this hospital may not join (another protocol version, config or roster)."""

    kind = 3
    code: Code


# ---- group key and model, from hospital to hospital ----------------------------------


class Synchronise(Message, frozen=True):
    """Coordinator: get the group key of `epoch` from hospital `source`, and the model of round
    `applied` if yours is another one.

    If `source` is the receiver, it makes the key unless it holds one. `group_key` and `model` are
    what most hospitals have, as they sign them in a round's context; None if no hospital has them.
    """

    kind = 4
    epoch: Round
    source: Number
    applied: Round
    group_key: KeyIdentifier | None
    model: Digest | None = None


class StateRequest(Message, frozen=True):
    """Hospital `asker` asks hospital `source` for key and model.

    `public` is an X25519 key made for this one request.
    """

    kind = 5
    epoch: Round
    asker: Number
    source: Number
    applied: Round
    public: PublicKey
    signature: Signature


class StateAnswer(Message, frozen=True):
    """The answer, sealed to the request's key: buffer 0 is the sealed key and model."""

    kind = 6
    buffers_allowed = 1
    epoch: Round
    asker: Number
    source: Number
    public: PublicKey
    signature: Signature
    buffers: Buffers = ()


class Synchronised(Message, frozen=True):
    """Hospital: I hold the epoch's key and the model of round `applied`.

    `model` is what it signs for the model: its digest, or under ckks a MAC of the digest under the
    group key.
    """

    kind = 7
    epoch: Round
    applied: Round
    group_key: KeyIdentifier
    model: Digest


# ---- a round -------------------------------------------------------------------------


class StartRound(Message, frozen=True):
    """Coordinator: train. A hospital computes the cohort itself and compares it with this one."""

    kind = 10
    round: Round
    cohort: Numbers


class Progress(Message, frozen=True):
    """Hospital: per cent of the training that are done; not steps, which would count images."""

    kind = 11
    round: Round
    percent: Annotated[int, Meta(ge=0, le=100)]


class Ready(Message, frozen=True):
    """Hospital: trained. Its signed binding opens a round without masks."""

    kind = 12
    round: Round
    model: Digest
    group_key: KeyIdentifier | None
    signature: Signature


class AdvertiseKeys(Message, frozen=True):
    """Hospital: trained; the round's public keys, signed over the round's context."""

    kind = 13
    round: Round
    sender: Number
    model: Digest
    group_key: KeyIdentifier
    mask_key: PublicKey
    channel_key: PublicKey
    holders: Numbers
    signature: Signature


class KeyList(Message, frozen=True):
    """The advertisements of the receiver's neighbours, and a digest of every advertisement, in the
    order of `numbers`.
    """

    kind = 14
    round: Round
    advertised: Annotated[tuple[AdvertiseKeys, ...], Meta(max_length=4096)]
    numbers: Numbers
    digests: Annotated[tuple[Digest, ...], Meta(max_length=4096)]


class ShareKeys(Message, frozen=True):
    """Sealed shares of both secrets, in the order of the sender's holders.

    None for the sender itself and for holders that have left. `commitments`: 32 bytes for the
    self-mask share and 32 for the mask-key share of each holder.
    """

    kind = 15
    round: Round
    sealed: Annotated[tuple[Sealed | None, ...], Meta(max_length=4096)]
    commitments: Annotated[tuple[Commitments, ...], Meta(max_length=4096)]
    signatures: Signatures
    seed_commitment: Commitment


class Delivery(Message, frozen=True):
    """To one holder: who has shared its keys (`members`, U2 in Bonawitz et al. 2017), and what each
    dealer sealed for this holder. Parallel tuples, by dealer.
    """

    kind = 16
    round: Round
    members: Numbers
    dealers: Numbers
    sealed: Annotated[tuple[Sealed | None, ...], Meta(max_length=4096)]
    commitments: Annotated[tuple[Commitments, ...], Meta(max_length=4096)]
    seed_commitments: Annotated[tuple[Commitment, ...], Meta(max_length=4096)]
    signatures: Signatures


class Grant(Message, frozen=True):
    """Coordinator: upload now."""

    kind = 17
    round: Round


class Update(Message, frozen=True):
    """The protected vector: buffer 0 (plain, masked) or ciphertexts (ckks).

    `tag` is None under plain; `signature` is None unless ciphertexts are signed.
    """

    kind = 18
    buffers_allowed = 65_536
    round: Round
    tag: Tag | None
    signature: Signature | None
    buffers: Buffers = ()


class Survivors(Message, frozen=True):
    """The hospitals whose updates were counted; each of them signs this set."""

    kind = 19
    round: Round
    survivors: Numbers
    transcript: Digest


class Consistency(Message, frozen=True):
    """A survivor's signature over the survivors and the transcript."""

    kind = 20
    round: Round
    signature: Signature


class UnmaskRequest(Message, frozen=True):
    """Signatures of `threshold` or more survivors over one set. Parallel tuples, by signer."""

    kind = 21
    round: Round
    survivors: Numbers
    signers: Numbers
    signatures: Signatures


class RevealedShare(Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """One share of `owner`'s secret with the salt of its commitment."""

    owner: Number
    share: Share
    salt: Salt


class UnmaskShares(Message, frozen=True):
    """Self-mask shares of survivors and mask-key shares of dropouts; never both of one hospital.

    `bad_dealers`: whose shares this holder could not use.
    """

    kind = 22
    round: Round
    self_shares: Annotated[tuple[RevealedShare, ...], Meta(max_length=4096)]
    key_shares: Annotated[tuple[RevealedShare, ...], Meta(max_length=4096)]
    bad_dealers: Numbers


class Aggregate(Message, frozen=True):
    """The sum over the survivors, with what proves it. Buffers: ring elements or ciphertexts.

    Under plain nothing proves it: `transcript` and `tag` are None, and no survivor signs.
    """

    kind = 23
    buffers_allowed = 65_536
    round: Round
    survivors: Numbers
    transcript: Digest | None
    signers: Numbers
    signatures: Signatures
    tag: Tag | None
    buffers: Buffers = ()


class RoundReport(Message, frozen=True):
    """Hospital: the aggregate is applied; `model` as in Synchronised, None without a group key.

    `accuracy` (0 to 1) and `clipped` (elements) are None unless the hospital's policy shares them.
    """

    kind = 24
    round: Round
    model: Digest | None
    accuracy: Annotated[float, Meta(ge=0.0, le=1.0)] | None
    clipped: Annotated[int, Meta(ge=0, lt=2**48)] | None


class AbortRound(Message, frozen=True):
    """Coordinator: this round ends without a result."""

    kind = 25
    round: Round
    code: Code


class Refusal(Message, frozen=True):
    """Hospital: I leave this round. Only its operator is shown the text of the reason."""

    kind = 26
    round: Round
    code: Code


class Finish(Message, frozen=True):
    """Coordinator: the run is over. `code` is the reason if it ended early, else None."""

    kind = 27
    completed: Round
    code: Code | None = None


KINDS: dict[int, type[Message]] = {kind.kind: kind for kind in Message.__subclasses__()}
