"""The packets of the link: strict binary headers that cannot make us allocate or execute anything.

A packet is a header frame of fixed layout (big-endian) and, for `Data`, pieces of a message.
Anything else is refused. These are not the messages of the federation (`federation/messages.py`):
packets open and close connections and carry messages in chunks.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass

Buffer = bytes | memoryview

MAGIC = b"FLNK"
LINK_VERSION = 1  # of these packets; `codec.VERSION` is that of the messages
CHUNK = 1 << 20  # bytes of a message in one packet, at most
MAX_FRAMES = 1 << 14  # of one message; under ckks it has one for each ciphertext
MAX_NUMBER = 1 << 63  # of message numbers and offsets: the next one must still fit its field

# magic, version, kind, code; this layout is the same in every version
_SIGNAL = struct.Struct(">4sBBB")
_STREAM = struct.Struct(">4sBB8s?QQQ")  # magic, version, kind, stream, urgent, three numbers
_OPEN, _OPENED, _CLOSED, _DATA, _ACK, _NACK, _PROBE = range(1, 8)
_SIGNALS = (_OPEN, _OPENED, _CLOSED)


class MalformedPacket(ValueError):
    """The peer sent a packet that no correct peer sends."""


class WrongVersion(MalformedPacket):
    """The peer speaks another version of the link."""


@dataclass(frozen=True)
class Signal:
    """Opening and closing of a connection.

    A hospital sends OPEN. The coordinator answers OPENED or one of CLOSED_*; its `code` says why.
    """

    kind: int
    code: int = 0


OPEN, OPENED = Signal(_OPEN), Signal(_OPENED)
CLOSED_REPLACED = Signal(_CLOSED, 1)  # a newer connection with the same key
CLOSED_REMOVED = Signal(_CLOSED, 2)  # the hospital is no longer in the roster
CLOSED_VERSION = Signal(_CLOSED, 3)  # the hospital speaks another LINK_VERSION


@dataclass(frozen=True)
class Data:
    """One chunk of message `seq`, from byte `offset` on.

    `sizes`, the bytes of every frame of the message, is present at offset 0 and only there. `base`
    is the oldest message that is not yet settled.
    """

    stream: bytes
    urgent: bool
    base: int
    seq: int
    offset: int
    sizes: tuple[int, ...]
    parts: tuple[Buffer, ...]


@dataclass(frozen=True)
class Ack:
    """Everything before (seq, offset) has arrived. `rewind`: send again from there."""

    stream: bytes
    urgent: bool
    seq: int
    offset: int
    rewind: bool = False


@dataclass(frozen=True)
class Nack:
    """Message `seq` is longer than the `limit` bytes that its receiver accepts now."""

    stream: bytes
    urgent: bool
    seq: int
    limit: int


@dataclass(frozen=True)
class Probe:
    """All before (seq, offset) was sent. An Ack answers, with `rewind` if a part is missing."""

    stream: bytes
    urgent: bool
    base: int
    seq: int
    offset: int


Packet = Signal | Data | Ack | Nack | Probe


def encode(packet: Packet) -> list[Buffer]:
    """Return the packet's frames: a header of 7 bytes (signals) or of 39 + 8 for each entry of
    `sizes`, then pieces of a message.
    """
    match packet:
        case Signal(kind, code):
            return [_SIGNAL.pack(MAGIC, LINK_VERSION, kind, code)]
        case Data(stream, urgent, base, seq, offset, sizes, parts):
            head = _STREAM.pack(MAGIC, LINK_VERSION, _DATA, stream, urgent, base, seq, offset)
            return [head + struct.pack(f">{len(sizes)}Q", *sizes), *parts]
        case Ack(stream, urgent, seq, offset, rewind):
            return [_STREAM.pack(MAGIC, LINK_VERSION, _ACK, stream, urgent, seq, offset, rewind)]
        case Nack(stream, urgent, seq, limit):
            return [_STREAM.pack(MAGIC, LINK_VERSION, _NACK, stream, urgent, seq, limit, 0)]
        case Probe(stream, urgent, base, seq, offset):
            return [_STREAM.pack(MAGIC, LINK_VERSION, _PROBE, stream, urgent, base, seq, offset)]


def decode(frames: Sequence[Buffer]) -> Packet:
    """Return the packet in these frames.

    Raises:
        WrongVersion: If the peer speaks another version of the link.
        MalformedPacket: If it is not a packet; the text says what is wrong.
    """
    if not frames or len(frames[0]) < _SIGNAL.size or bytes(frames[0][:4]) != MAGIC:
        raise MalformedPacket("this is not a packet of the link")
    head, parts = bytes(frames[0]), tuple(frames[1:])
    version, kind = head[4], head[5]
    if version != LINK_VERSION:
        mend = "install the same release on both sides"
        raise WrongVersion(
            f"it speaks version {version} of the link, we speak {LINK_VERSION}: {mend}"
        )
    if parts and kind != _DATA:
        raise MalformedPacket("a packet without data has data")
    if kind in _SIGNALS:
        if len(head) != _SIGNAL.size:
            raise MalformedPacket("a signal has a wrong length")
        return Signal(kind, head[6])
    rest = len(head) - _STREAM.size
    if rest < 0 or (rest and kind != _DATA) or rest % 8 or rest > 8 * MAX_FRAMES or head[14] > 1:
        raise MalformedPacket("a packet header has a wrong length")
    _, _, _, stream, urgent, a, b, c = _STREAM.unpack(head[: _STREAM.size])
    if max(a, b, c) >= MAX_NUMBER:
        raise MalformedPacket("a number is beyond anything that was ever sent")
    if kind == _DATA:
        if (c == 0) != (rest > 0) or a > b or len(parts) > MAX_FRAMES:
            raise MalformedPacket("a chunk contradicts itself")
        return Data(
            stream, urgent, a, b, c, struct.unpack(f">{rest // 8}Q", head[_STREAM.size :]), parts
        )
    if kind == _ACK and c <= 1:
        return Ack(stream, urgent, a, b, bool(c))
    if kind == _NACK and c == 0:
        return Nack(stream, urgent, a, b)
    if kind == _PROBE and a <= b:
        return Probe(stream, urgent, a, b, c)
    raise MalformedPacket("a packet is of an unknown kind")
