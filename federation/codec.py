"""Messages to frames and back: `[header, body, raw buffers…]`.

Header (8 bytes, big-endian): magic `FL`, protocol version u16, kind u16, number of buffers u16. The
body is msgpack, decoded under hard limits by `msgpack` and then validated strictly by `msgspec`;
nothing in it names a type.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass

import msgpack
import msgspec

from federation.errors import MalformedMessage, Reason
from federation.messages import KINDS, Message

PROTOCOL_VERSION = 2
"""Of every message. A peer with another one is refused with a sentence that says so."""

_MAGIC = b"FL"
_HEADER = struct.Struct(">2sHHH")
Frame = bytes | memoryview


@dataclass(frozen=True)
class Limits:
    """What a peer may send, in bytes: a body, and all buffers of one message together."""

    body: int
    buffers: int

    @property
    def total(self) -> int:
        return _HEADER.size + self.body + self.buffers


def encode(message: Message) -> list[Frame]:
    """Frames of a message; the buffers are passed on as they are, not copied."""
    buffers: tuple[Frame, ...] = getattr(message, "buffers", ())
    fields = [getattr(message, name) for name in message.__struct_fields__ if name != "buffers"]
    header = _HEADER.pack(_MAGIC, PROTOCOL_VERSION, message.kind, len(buffers))
    return [header, msgspec.msgpack.encode(fields), *buffers]


def decode(frames: Sequence[Frame], limits: Limits) -> Message:
    """The message in these frames. Raises MalformedMessage for anything that is not exactly one
    valid message.
    """
    if len(frames) < 2 or len(frames[0]) != _HEADER.size:
        raise MalformedMessage("a message needs a header of 8 bytes and a body")
    magic, version, kind, count = _HEADER.unpack(frames[0])
    if magic != _MAGIC:
        raise MalformedMessage("not a message of this protocol")
    if version != PROTOCOL_VERSION:
        raise MalformedMessage(
            f"the peer speaks protocol version {version}, we speak {PROTOCOL_VERSION}; install the"
            " same release",
            Reason.VERSION,
        )
    known = KINDS.get(kind)
    if known is None:
        raise MalformedMessage(f"unknown kind {kind}")
    buffers = frames[2:]
    if count != len(buffers) or count > known.buffers_allowed:
        raise MalformedMessage(
            f"{known.__name__}: {len(buffers)} buffers, {count} announced, {known.buffers_allowed}"
            " allowed"
        )
    if len(frames[1]) > limits.body or sum(len(buffer) for buffer in buffers) > limits.buffers:
        raise MalformedMessage(
            f"{known.__name__}: larger than the {limits.body} + {limits.buffers} bytes allowed now"
        )
    fields = _unpack(known.__name__, frames[1])
    if known.buffers_allowed:
        fields.append(tuple(buffers))
    if len(fields) != len(known.__struct_fields__):
        raise MalformedMessage(
            f"{known.__name__}: has {len(fields)} fields, not {len(known.__struct_fields__)}"
        )
    try:
        message: Message = msgspec.convert(fields, known, strict=True, builtin_types=(bytes,))
    except (msgspec.ValidationError, OverflowError) as error:
        raise MalformedMessage(f"{known.__name__}: {error}") from None
    return message


def _unpack(name: str, body: Frame) -> list[object]:
    size = len(body)
    try:
        fields = msgpack.unpackb(
            body,
            raw=False,
            strict_map_key=True,
            max_str_len=min(size, 1024),
            max_bin_len=size,
            max_array_len=min(size, 65_536),
            max_map_len=0,
            max_ext_len=0,
        )
    except (ValueError, msgpack.exceptions.UnpackException, RecursionError) as error:
        raise MalformedMessage(
            f"{name}: body is not valid msgpack ({type(error).__name__})"
        ) from None
    if not isinstance(fields, list):
        raise MalformedMessage(f"{name}: body is not a list of fields")
    return fields
