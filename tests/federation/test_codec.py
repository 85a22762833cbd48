"""Messages to frames and back; and everything that is not exactly one valid message is a
MalformedMessage, whatever it is.
"""

from __future__ import annotations

import contextlib
import math
import struct as packing
from typing import Any

import msgpack
import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import inspect

from federation import codec, messages
from federation.codec import Limits, decode, encode
from federation.errors import MalformedMessage, Reason
from federation.messages import KINDS, Message
from tests.federation.messages_strategy import struct

WIDE = Limits(1 << 20, 1 << 20)
EVERY = sorted(KINDS.values(), key=lambda kind: kind.kind)
by_kind = pytest.mark.parametrize("kind", EVERY, ids=lambda kind: kind.__name__)
few = settings(max_examples=15, deadline=None)
any_message = st.sampled_from(EVERY).flatmap(struct)


def header(
    kind: int, buffers: int = 0, version: int = codec.PROTOCOL_VERSION, magic: bytes = b"FL"
) -> bytes:
    return packing.pack(">2sHHH", magic, version, kind, buffers)


def present(t: inspect.UnionType) -> inspect.Type:
    """The type of a field that may be absent, when it is there."""
    (found,) = (one for one in t.types if not isinstance(one, inspect.NoneType))
    return found


def example(kind: type[Message]) -> Message:
    """One valid message: nothing is left out, every number is 1, every text and byte string is as
    short as allowed, every tuple has one item.
    """

    def of(t: inspect.Type) -> Any:
        match t:
            case inspect.IntType():
                return 1
            case inspect.FloatType():
                return 0.5
            case inspect.BytesType():
                return b"\1" * (t.min_length or 0)
            case inspect.StrType():
                return "x"
            case inspect.VarTupleType():
                return (of(t.item_type),)
            case inspect.UnionType():
                return of(present(t))
            case inspect.StructType():
                return t.cls(**{field.name: of(field.type) for field in t.fields})
        raise TypeError(t)

    fields = {f.name: of(f.type) for f in inspect.type_info(kind).fields if f.name != "buffers"}  # type: ignore[attr-defined]
    return kind(**fields, **({"buffers": (b"abc",)} if kind.buffers_allowed else {}))


def body_of(message: Message) -> list[Any]:
    return msgspec.msgpack.decode(encode(message)[1])


def frames_of(message: Message, fields: list[Any]) -> list[Any]:
    frames = encode(message)
    return [frames[0], msgpack.packb(fields), *frames[2:]]


def test_every_message_has_a_kind_of_its_own() -> None:
    assert len(KINDS) == len(Message.__subclasses__())
    assert 0 not in KINDS


@by_kind
def test_every_message_survives_the_wire(kind: type[Message]) -> None:
    @few
    @given(struct(kind))
    def check(message: Message) -> None:
        frames = encode(message)
        assert decode(frames, WIDE) == message
        assert decode([memoryview(bytes(frame)) for frame in frames], WIDE) == message

    check()


@by_kind
def test_nothing_on_the_wire_names_a_type(kind: type[Message]) -> None:
    assert kind.__name__.encode() not in b"".join(bytes(frame) for frame in encode(example(kind)))


@by_kind
def test_a_truncated_or_longer_body_is_refused(kind: type[Message]) -> None:
    frames = encode(example(kind))
    body = bytes(frames[1])
    for changed in (*(body[:length] for length in range(len(body))), body + b"\0", body + body):
        with pytest.raises(MalformedMessage):
            decode([frames[0], changed, *frames[2:]], WIDE)


@by_kind
def test_one_field_too_many_or_too_few_is_refused(kind: type[Message]) -> None:
    message = example(kind)
    fields = body_of(message)
    for changed in (fields[:-1], [*fields, 0], [*fields, []], []):
        with pytest.raises(MalformedMessage):
            decode(frames_of(message, changed), WIDE)


def wrong_values(t: inspect.Type) -> list[Any]:
    """What a field of this type must not hold."""
    never = [None, {}, {"a": 1}, msgpack.ExtType(5, b"x"), msgpack.Timestamp(1)]
    match t:
        case inspect.IntType():
            above = (
                (t.lt if t.lt is not None else t.le + 1)
                if t.lt is not None or t.le is not None
                else None
            )
            below = t.ge - 1 if t.ge is not None else None
            return [*never, "1", b"1", 1.5, True, [], *(n for n in (above, below) if n is not None)]
        case inspect.FloatType():
            return [
                *never,
                "1",
                b"1",
                True,
                [],
                math.nan,
                math.inf,
                -math.inf,
                t.le + 0.5,
                t.ge - 0.5,
            ]
        case inspect.BytesType():
            sizes = ([] if t.max_length is None else [t.max_length + 1]) + (
                [t.min_length - 1] if t.min_length else []
            )
            return [
                *never,
                1,
                True,
                [],
                "x" * (t.min_length or 1),
                *(bytes(size) for size in sizes),
            ]
        case inspect.UnionType():
            return [wrong for wrong in wrong_values(present(t)) if wrong is not None]
        case inspect.StrType():
            longest = [] if t.max_length is None else ["x" * (t.max_length + 1)]
            return [*never, 1, b"x", [], *longest, *([""] if t.min_length else [])]
        case inspect.VarTupleType():
            too_many = [] if t.max_length is None else [[1] * (t.max_length + 1)]
            return [
                *never,
                1,
                "x",
                b"x",
                *too_many,
                *([item] for item in wrong_values(t.item_type)),
            ]
        case inspect.StructType():
            good = [
                list(v) if isinstance(v, tuple) else v for v in msgspec.structs.astuple(_part(t))
            ]
            changed = [
                [*good[:at], wrong, *good[at + 1 :]]
                for at, f in enumerate(t.fields)
                for wrong in wrong_values(f.type)
            ]
            return [*never, 1, "x", good[:-1], [*good, 0], *changed]
    raise TypeError(t)


def _part(t: inspect.StructType) -> Any:
    if issubclass(t.cls, Message):
        return example(t.cls)
    return messages.RevealedShare(1, bytes(33), bytes(16))


@by_kind
def test_a_wrong_value_in_any_field_is_refused(kind: type[Message]) -> None:
    message = example(kind)
    fields = body_of(message)
    names = [f for f in inspect.type_info(kind).fields if f.name != "buffers"]  # type: ignore[attr-defined]
    for at, field in enumerate(names):
        for wrong in wrong_values(field.type):
            changed = [*fields[:at], wrong, *fields[at + 1 :]]
            with pytest.raises(MalformedMessage):
                decode(frames_of(message, changed), WIDE)
                pytest.fail(f"{kind.__name__}.{field.name} took {wrong!r}")


@by_kind
def test_a_flipped_bit_gives_a_message_of_the_same_kind_or_is_refused(kind: type[Message]) -> None:
    frames = encode(example(kind))
    body = bytearray(bytes(frames[1]))
    for at in range(len(body)):
        for bit in (1, 0x10, 0x80):
            body[at] ^= bit
            with contextlib.suppress(MalformedMessage):
                assert type(decode([frames[0], bytes(body), *frames[2:]], WIDE)) is kind
            body[at] ^= bit


@settings(max_examples=300, deadline=None)
@given(st.sampled_from([*KINDS, 0, 999]), st.binary(max_size=200), st.integers(0, 3))
def test_no_bytes_raise_anything_but_malformed_message(
    kind: int, body: bytes, buffers: int
) -> None:
    with contextlib.suppress(MalformedMessage):
        decode([header(kind, buffers), body, *([b"x"] * buffers)], WIDE)


plain_objects = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats()
    | st.binary(max_size=70)
    | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=5) | st.dictionaries(st.text(max_size=3), inner, max_size=2)
    ),
    max_leaves=12,
)


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(sorted(KINDS)), st.lists(plain_objects, max_size=9))
def test_no_objects_raise_anything_but_malformed_message(kind: int, fields: list[Any]) -> None:
    with contextlib.suppress(MalformedMessage):
        decode([header(kind), msgpack.packb(fields)], WIDE)


@settings(max_examples=50, deadline=None)
@given(any_message, st.integers(0, 7), st.integers(1, 255))
def test_any_flip_in_the_header_is_refused_or_gives_another_valid_message(
    message: Message, at: int, flip: int
) -> None:
    frames = encode(message)
    head = bytearray(bytes(frames[0]))
    head[at] ^= flip
    with contextlib.suppress(MalformedMessage):
        assert type(decode([bytes(head), *frames[1:]], WIDE)) is not type(message)


def test_header_mistakes_are_told_apart() -> None:
    good = encode(messages.Grant(round=1))
    for frames, text in (
        ([header(messages.Grant.kind, magic=b"XX"), good[1]], "not a message of this protocol"),
        ([header(999), good[1]], "unknown kind 999"),
        ([good[0]], "needs a header"),
        ([], "needs a header"),
        ([good[0] + b"\0", good[1]], "needs a header"),
        (
            [header(messages.Grant.kind, 1), good[1], b"x"],
            "Grant: 1 buffers, 1 announced, 0 allowed",
        ),
        (
            [header(messages.Grant.kind, 0), good[1], b"x"],
            "Grant: 1 buffers, 0 announced, 0 allowed",
        ),
        ([header(messages.Update.kind, 2), good[1], b"x"], "Update: 1 buffers, 2 announced"),
    ):
        with pytest.raises(MalformedMessage, match=text) as refused:
            decode(frames, WIDE)
        assert refused.value.reason == Reason.MALFORMED


def test_another_version_is_refused_with_a_reason_of_its_own_and_the_fix() -> None:
    good = encode(messages.Grant(round=1))
    with pytest.raises(
        MalformedMessage, match="version 1, we speak 2; install the same release"
    ) as refused:
        decode([header(messages.Grant.kind, version=1), good[1]], WIDE)
    assert refused.value.reason == Reason.VERSION


def test_sizes_are_checked_before_anything_is_unpacked() -> None:
    update = messages.Update(round=1, tag=None, signature=None, buffers=(bytes(100), bytes(101)))
    size = len(encode(update)[1])
    decode(encode(update), Limits(size, 201))
    for limits in (Limits(size, 200), Limits(size - 1, 201), Limits(0, 0)):
        with pytest.raises(MalformedMessage, match="larger than"):
            decode(encode(update), limits)


@pytest.mark.parametrize(
    "body",
    [
        b"\xdd\xff\xff\xff\xff",  # an array of 2^32 - 1 items
        b"\xc6\xff\xff\xff\xff",  # 4 GiB of bytes
        b"\xdb\xff\xff\xff\xff",  # 4 GiB of text
        b"\xdf\xff\xff\xff\xff",  # a map
        b"\xc9\xff\xff\xff\xff\x05",  # an extension type
        b"\x91" * 5000 + b"\x01",  # deep nesting
        b"\x91\xd9\x02\xff\xfe",  # text that is not UTF-8
        b"\x91\xd4\xff\x00",  # a timestamp of a wrong length
        b"\x91\xd6\xff\x00\x00\x00\x01",  # a timestamp
        b"\x91\xc1",  # never used in msgpack
        b"",
        b"\x01",
        b"\x80",
    ],
)
def test_bombs_and_oddities_are_refused(body: bytes) -> None:
    with pytest.raises(MalformedMessage):
        decode([header(messages.Grant.kind), body], WIDE)


@pytest.mark.parametrize("code", ["\x1b[2J", "a b", "share\n", "[red]", "é", ""])
def test_a_code_is_letters_for_it_is_shown_in_a_terminal(code: str) -> None:
    for message in (
        messages.Refusal(round=1, code=code),
        messages.Rejected(code=code),
        messages.AbortRound(round=1, code=code),
    ):
        with pytest.raises(MalformedMessage):
            decode(encode(message), WIDE)
    for reason in Reason:
        assert decode(encode(messages.Rejected(code=reason)), WIDE) == messages.Rejected(
            code=reason
        )
