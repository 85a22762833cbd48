"""Every message there is. Frozen, validated strictly, known by a small number; no type name is ever
on the wire.

Hospitals are spoken of by roster number, rounds count from 1. Lengths that depend on the run (d, n)
are checked by the codec's limits and by the protection's steps; the fixed ones are checked here.
docs/protocol.md lists each with its length.
"""

from __future__ import annotations

from typing import Annotated, Any, ClassVar

from msgspec import Meta, Struct, inspect

Number = Annotated[int, Meta(ge=0, lt=65_536)]
Round = Annotated[int, Meta(ge=0, lt=2**31)]
Bytes16 = Annotated[bytes, Meta(min_length=16, max_length=16)]
Bytes32 = Annotated[bytes, Meta(min_length=32, max_length=32)]
Bytes64 = Annotated[bytes, Meta(min_length=64, max_length=64)]
MaybeBytes32 = Annotated[bytes, Meta(max_length=32)]
MaybeBytes16 = Annotated[bytes, Meta(max_length=16)]
Signature = Annotated[bytes, Meta(min_length=64, max_length=64)]
Share = Annotated[bytes, Meta(min_length=33, max_length=33)]
Numbers = Annotated[tuple[Number, ...], Meta(max_length=4096)]
# shown in terminals: nothing that steers one
Code = Annotated[str, Meta(min_length=1, max_length=16, pattern=r"\A[a-z]+\Z")]
Sealed = Annotated[bytes, Meta(max_length=4096)]
# bytes-like frames, put there by the codec and measured by it; never decoded from a body
Buffers = tuple[Any, ...]


class Message(Struct, frozen=True, array_like=True, forbid_unknown_fields=True, kw_only=True):
    """Base of all messages. `buffers` travel as raw frames behind the body and are not part of it."""

    kind: ClassVar[int] = 0
    buffers_allowed: ClassVar[int] = 0


# ---- joining -------------------------------------------------------------------------


class Hello(Message, frozen=True):
    """A hospital is here. `session` is new at each start of its process; `run` is empty before its
    first run.
    """

    kind = 1
    config: Bytes32
    roster: Bytes32
    session: Bytes16
    run: MaybeBytes16
    applied: Round


class Welcome(Message, frozen=True):
    """The run that the coordinator leads, and the next round."""

    kind = 2
    run: Bytes16
    next_round: Round
    rounds: Round


class Rejected(Message, frozen=True):
    """The coordinator turns a hospital away (another version, config or roster)."""

    kind = 3
    code: Code


# ---- group key and state, from hospital to hospital ----------------------------------


class Synchronise(Message, frozen=True):
    """Coordinator: get epoch `epoch`'s group key (and the model of round `applied`, where you stand
    elsewhere) from hospital `source`.

    `source` equal to the receiver: make the key if you hold none. `group_key`: the identifier that
    most hold, `model`: where they stand, as in the context that they sign; empty if nobody does.
    """

    kind = 4
    epoch: Round
    source: Number
    applied: Round
    group_key: MaybeBytes32
    model: MaybeBytes32 = b""


class StateRequest(Message, frozen=True):
    """A hospital asks a peer for key and state. `public` is an X25519 key made for this one
    request.
    """

    kind = 5
    epoch: Round
    asker: Number
    source: Number
    applied: Round
    public: Bytes32
    signature: Signature


class StateGrant(Message, frozen=True):
    """The answer, sealed to the request's key: buffer 0 is the sealed state."""

    kind = 6
    buffers_allowed = 1
    epoch: Round
    asker: Number
    source: Number
    public: Bytes32
    signature: Signature
    buffers: Buffers = ()


class Synchronised(Message, frozen=True):
    """A hospital holds the epoch's key (`group_key` is its one-way identifier) and stands at round
    `applied`.

    `model` is what it signs for it: a digest, or under ckks a MAC of the digest under the group's
    key.
    """

    kind = 7
    epoch: Round
    applied: Round
    group_key: Bytes32
    model: Bytes32


# ---- a round -------------------------------------------------------------------------


class StartRound(Message, frozen=True):
    """Train. The cohort is stated only to be compared with what the hospital computes itself."""

    kind = 10
    round: Round
    cohort: Numbers


class Progress(Message, frozen=True):
    """Hundredths of the training that are done, so that a deadline can be a deadline on progress.
    Not steps: they would count images.
    """

    kind = 11
    round: Round
    percent: Annotated[int, Meta(ge=0, le=100)]


class Ready(Message, frozen=True):
    """Trained. The signed binding that opens a round without masks."""

    kind = 12
    round: Round
    model: Bytes32
    group_key: MaybeBytes32
    signature: Signature


class AdvertiseKeys(Message, frozen=True):
    """Trained; the round's public keys. Signed over the context: run, round, config, roster,
    cohort, model, group key.
    """

    kind = 13
    round: Round
    sender: Number
    model: Bytes32
    group_key: Bytes32
    mask_key: Bytes32
    channel_key: Bytes32
    holders: Numbers
    signature: Signature


class KeyList(Message, frozen=True):
    """The advertisements of the receiver's neighbours, and a digest of every one, in the order of
    the numbers.
    """

    kind = 14
    round: Round
    advertised: Annotated[tuple[AdvertiseKeys, ...], Meta(max_length=4096)]
    numbers: Numbers
    digests: Annotated[tuple[Bytes32, ...], Meta(max_length=4096)]


class ShareKeys(Message, frozen=True):
    """Sealed shares of both secrets, in the order of the sender's holders (empty for itself and for
    those that are gone), with a signed commitment (32 bytes for the self-mask share, 32 for the
    mask-key share) for each holder.
    """

    kind = 15
    round: Round
    sealed: Annotated[tuple[Sealed, ...], Meta(max_length=4096)]
    commitments: Annotated[tuple[Bytes64, ...], Meta(max_length=4096)]
    signatures: Annotated[tuple[Signature, ...], Meta(max_length=4096)]
    seed_commitment: Bytes32


class Delivery(Message, frozen=True):
    """To one holder: who has shared (`U2`), and what each dealer sealed for it. Parallel tuples, by
    dealer.
    """

    kind = 16
    round: Round
    members: Numbers
    dealers: Numbers
    sealed: Annotated[tuple[Sealed, ...], Meta(max_length=4096)]
    commitments: Annotated[tuple[Bytes64, ...], Meta(max_length=4096)]
    seed_commitments: Annotated[tuple[Bytes32, ...], Meta(max_length=4096)]
    signatures: Annotated[tuple[Signature, ...], Meta(max_length=4096)]


class Grant(Message, frozen=True):
    """Upload now."""

    kind = 17
    round: Round


class Update(Message, frozen=True):
    """The protected vector: buffer 0 (plain, masked) or ciphertexts (ckks). `tag` is empty under
    plain.
    """

    kind = 18
    buffers_allowed = 65_536
    round: Round
    tag: Annotated[bytes, Meta(max_length=8)]
    signature: Annotated[bytes, Meta(max_length=64)]
    buffers: Buffers = ()


class Survivors(Message, frozen=True):
    """Whose updates were counted; to be signed."""

    kind = 19
    round: Round
    survivors: Numbers
    transcript: Bytes32


class Consistency(Message, frozen=True):
    """A survivor's signature over the survivors and the transcript."""

    kind = 20
    round: Round
    signature: Signature


class UnmaskRequest(Message, frozen=True):
    """Signatures of at least `threshold` survivors over the same set. Parallel tuples, by signer."""

    kind = 21
    round: Round
    survivors: Numbers
    signers: Numbers
    signatures: Annotated[tuple[Signature, ...], Meta(max_length=4096)]


class RevealedShare(Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """One share of `owner`'s secret with the salt of its commitment."""

    owner: Number
    share: Share
    salt: Bytes16


class UnmaskShares(Message, frozen=True):
    """Self-mask shares of survivors, mask-key shares of dropouts; never both of one hospital.
    `bad_dealers`: unusable shares.
    """

    kind = 22
    round: Round
    self_shares: Annotated[tuple[RevealedShare, ...], Meta(max_length=4096)]
    key_shares: Annotated[tuple[RevealedShare, ...], Meta(max_length=4096)]
    bad_dealers: Numbers


class Aggregate(Message, frozen=True):
    """The sum over the survivors, with what proves it. Buffers: the sum's ring elements, or
    ciphertexts.
    """

    kind = 23
    buffers_allowed = 65_536
    round: Round
    survivors: Numbers
    transcript: MaybeBytes32
    signers: Numbers
    signatures: Annotated[tuple[Signature, ...], Meta(max_length=4096)]
    tag: Annotated[bytes, Meta(max_length=8)]
    buffers: Buffers = ()


class RoundReport(Message, frozen=True):
    """A hospital applied the aggregate and stands at `model` (as in Synchronised). The score only
    where its policy shares it, else -1.
    """

    kind = 24
    round: Round
    model: MaybeBytes32
    accuracy: Annotated[float, Meta(ge=-1.0, le=1.0)]
    clipped: Annotated[int, Meta(ge=-1, lt=2**48)]


class AbortRound(Message, frozen=True):
    kind = 25
    round: Round
    code: Code


class Refusal(Message, frozen=True):
    """A hospital takes no further part in this round; the text stays with its operator."""

    kind = 26
    round: Round
    code: Code


class Finish(Message, frozen=True):
    """The run is over."""

    kind = 27
    completed: Round
    code: Annotated[str, Meta(max_length=16, pattern=r"\A[a-z]*\Z")] = ""


KINDS: dict[int, type[Message]] = {kind.kind: kind for kind in Message.__subclasses__()}


def _whole_or_empty(kind: type[Message]) -> dict[str, int]:
    """Byte strings that may be left out, but not be cut short: those with a largest length only."""
    fields = {field.name: field.type for field in inspect.type_info(kind).fields}  # type: ignore[attr-defined]
    return {
        name: found.max_length
        for name, found in fields.items()
        if isinstance(found, inspect.BytesType) and found.max_length and not found.min_length
    }


WHOLE_OR_EMPTY: dict[type[Message], dict[str, int]] = {
    kind: _whole_or_empty(kind) for kind in KINDS.values()
}
