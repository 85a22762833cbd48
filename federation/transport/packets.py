"""The packets of the link: strict binary headers, and nothing that a peer could make us allocate or
execute.

A packet is a header frame of fixed layout (big-endian) and, for `Data`, pieces of a message. What
is not exactly as here is refused.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass

Buffer = bytes | memoryview

MAGIC, VERSION = b"FLNK", 1
CHUNK = 1 << 20  # bytes of a message in one packet, at most
MAX_FRAMES = 1 << 14  # of one message; under ckks it has one for each ciphertext
MAX_NUMBER = 1 << 63  # of a message, and of bytes: what follows it must still fit its field

# magic, version, kind, code; this layout is the same in every version
_SIGNAL = struct.Struct(">4sBBB")
_STREAM = struct.Struct(">4sBB8s?QQQ")  # magic, version, kind, stream, urgent, three numbers
_HELLO, _WELCOME, _BYE, _DATA, _ACK, _NACK, _PROBE = range(1, 8)
_SIGNALS = (_HELLO, _WELCOME, _BYE)


class MalformedPacket(ValueError):
    """The peer sent what no correct peer sends."""


class WrongVersion(MalformedPacket):
    """The peer speaks another version of the link."""


@dataclass(frozen=True)
class Signal:
    """Opening and closing of a connection: `hello` (hospital), `welcome` and `bye` (coordinator;
    `code` says why).
    """

    kind: int
    code: int = 0


HELLO, WELCOME = Signal(_HELLO), Signal(_WELCOME)
BYE_REPLACED, BYE_REMOVED, BYE_VERSION = Signal(_BYE, 1), Signal(_BYE, 2), Signal(_BYE, 3)


@dataclass(frozen=True)
class Data:
    """One chunk. `sizes` (bytes of every frame of the message) is there at offset 0 and only there."""

    stream: bytes
    urgent: bool
    base: int
    seq: int
    offset: int
    sizes: tuple[int, ...]
    parts: tuple[Buffer, ...]


@dataclass(frozen=True)
class Ack:
    """All before (seq, offset) has arrived; `rewind`: go on from there, whatever is under way."""

    stream: bytes
    urgent: bool
    seq: int
    offset: int
    rewind: bool = False


@dataclass(frozen=True)
class Nack:
    """Message `seq` is longer than the `limit` bytes that are accepted now."""

    stream: bytes
    urgent: bool
    seq: int
    limit: int


@dataclass(frozen=True)
class Probe:
    """All before (seq, offset) was sent; where are you? Answered by an Ack, with `rewind` if some
    of it is missing.
    """

    stream: bytes
    urgent: bool
    base: int
    seq: int
    offset: int


Packet = Signal | Data | Ack | Nack | Probe


def encode(packet: Packet) -> list[Buffer]:
    """The packet on the wire: a header of 7 bytes (signals) or 39 + 8 per entry of `sizes`, then
    pieces of a message.
    """
    match packet:
        case Signal(kind, code):
            return [_SIGNAL.pack(MAGIC, VERSION, kind, code)]
        case Data(stream, urgent, base, seq, offset, sizes, parts):
            head = _STREAM.pack(MAGIC, VERSION, _DATA, stream, urgent, base, seq, offset)
            return [head + struct.pack(f">{len(sizes)}Q", *sizes), *parts]
        case Ack(stream, urgent, seq, offset, rewind):
            return [_STREAM.pack(MAGIC, VERSION, _ACK, stream, urgent, seq, offset, rewind)]
        case Nack(stream, urgent, seq, limit):
            return [_STREAM.pack(MAGIC, VERSION, _NACK, stream, urgent, seq, limit, 0)]
        case Probe(stream, urgent, base, seq, offset):
            return [_STREAM.pack(MAGIC, VERSION, _PROBE, stream, urgent, base, seq, offset)]


def decode(frames: Sequence[Buffer]) -> Packet:
    """The packet in these frames. Raises WrongVersion, or MalformedPacket with what is wrong."""
    if not frames or len(frames[0]) < _SIGNAL.size or bytes(frames[0][:4]) != MAGIC:
        raise MalformedPacket("this is not a packet of the link")
    head, parts = bytes(frames[0]), tuple(frames[1:])
    version, kind = head[4], head[5]
    if version != VERSION:
        mend = "install the same release on both sides"
        raise WrongVersion(f"it speaks version {version} of the link, we speak {VERSION}: {mend}")
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
        raise MalformedPacket("a number is beyond all that was ever sent")
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
