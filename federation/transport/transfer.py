"""Messages of any size over a pipe that takes small packets and may lose, repeat or reorder them.
No I/O, no clock.

A message is a list of frames. Its bytes travel in chunks. The receiver acknowledges its *position*,
(message number, byte offset), and takes only the chunk that starts there (go-back-N: below is TCP,
so a hole means a lost connection, not a lost packet). Three things make it exactly-once within the
life of both ends, and let a restarted receiver catch up:

- every `Outbox` has a random `stream` name; a receiver that does not know it starts afresh,
- every chunk names `base`, the oldest message that is not settled, so that a fresh receiver knows where to start and a
  message that was refused is passed over,
- a receiver that sees a hole, by a chunk or by a `Probe`, answers with its position and `rewind`.

Normal and urgent messages are two independent streams, so that a short word overtakes a long
upload.
"""

from __future__ import annotations

import secrets
from bisect import bisect_right
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import accumulate

from federation.transport.packets import (
    CHUNK,
    MAX_FRAMES,
    Ack,
    Buffer,
    Data,
    MalformedPacket,
    Nack,
    Packet,
    Probe,
)

Position = tuple[int, int]  # message number in its stream, offset in bytes

WINDOW = 4  # packets of one stream under way without an acknowledgement
WAITING = 64  # messages that wait in one outbox
_SMALL = 1 << 16  # pieces below are joined: one copy is cheaper than many parts


class _Message:
    """A message on its way out: views of the caller's frames, which must not change until it is
    acknowledged.
    """

    def __init__(self, frames: Sequence[Buffer]) -> None:
        if not 1 <= len(frames) <= MAX_FRAMES:
            raise ValueError(f"a message has 1 to {MAX_FRAMES} frames, not {len(frames)}")
        views = [memoryview(frame) for frame in frames]
        self.views = [
            view.toreadonly().cast("B") if view.nbytes else memoryview(b"") for view in views
        ]
        self.sizes = tuple(view.nbytes for view in self.views)
        *self.starts, self.total = accumulate(self.sizes, initial=0)

    def piece(self, offset: int, length: int) -> tuple[Buffer, ...]:
        """At most `length` bytes from `offset`, as slices of the frames; joined if there are only a
        few bytes.
        """
        parts: list[Buffer] = []
        index, length = bisect_right(self.starts, offset) - 1, min(length, self.total - offset)
        small = length <= _SMALL
        while length > 0:
            begin = offset - self.starts[index]
            part = self.views[index][begin : begin + length]
            if part.nbytes:
                parts.append(part)
            offset, length, index = offset + part.nbytes, length - part.nbytes, index + 1
        return (b"".join(parts),) if small and parts else tuple(parts)


class Outbox:
    """One stream of messages on its way out."""

    def __init__(
        self, urgent: bool = False, chunk: int = CHUNK, window: int = WINDOW, waiting: int = WAITING
    ) -> None:
        self.stream, self.urgent = secrets.token_bytes(8), urgent
        self._chunk, self._window, self._waiting = chunk, window, waiting
        self._messages: deque[_Message] = deque()
        self._acked: Position = (0, 0)  # _messages[0] is number _acked[0]
        self._next: Position = (0, 0)  # what to send next
        # end of all that was ever sent: nothing beyond can be acknowledged
        self._furthest: Position = (0, 0)
        self._flight: deque[Position] = deque()  # ends of the packets under way

    def __len__(self) -> int:
        """Messages that are not yet acknowledged."""
        return len(self._messages)

    @property
    def waits(self) -> bool:
        """Something is under way and not acknowledged."""
        return bool(self._flight)

    def split(self, frames: Sequence[Buffer]) -> bool:
        """Queue a message, to be sent in chunks; False if too many wait already. The frames are not
        copied.
        """
        if len(self._messages) >= self._waiting:
            return False
        self._messages.append(_Message(frames))
        return True

    def next_chunk(self) -> Data | None:
        """The chunk to send now, if the window allows one; `sent` says that it went out."""
        seq, offset = self._next
        index = seq - self._acked[0]
        if index >= len(self._messages) or len(self._flight) >= self._window:
            return None
        message = self._messages[index]
        sizes = message.sizes if offset == 0 else ()
        return Data(
            self.stream,
            self.urgent,
            self._acked[0],
            seq,
            offset,
            sizes,
            message.piece(offset, self._chunk),
        )

    def sent(self, chunk: Data) -> None:
        """This chunk, the last that `next_chunk` gave, is on its way."""
        end = chunk.offset + sum(len(part) for part in chunk.parts)
        whole = end == self._messages[chunk.seq - self._acked[0]].total
        self._next = (chunk.seq + 1, 0) if whole else (chunk.seq, end)
        self._furthest = max(self._furthest, self._next)
        self._flight.append(self._next)

    def acknowledge(self, ack: Ack) -> None:
        """Take the receiver's position. Raises MalformedPacket if it is beyond what was sent."""
        if ack.stream != self.stream:
            return  # meant for a stream that was forgotten
        position = (ack.seq, ack.offset)
        if position > self._furthest:
            raise MalformedPacket("it acknowledges what was never sent")
        if position <= self._acked and not ack.rewind:
            return
        position = max(position, (self._acked[0], 0))
        settled = position[0] - self._acked[0]
        if position[1] and position[1] >= self._messages[settled].total:
            raise MalformedPacket("it acknowledges more bytes than the message has")
        for _ in range(settled):
            self._messages.popleft()
        self._acked = position
        if ack.rewind:
            self.rewind()
        self._next = max(self._next, position)
        while self._flight and self._flight[0] <= position:
            self._flight.popleft()

    def refuse(self, nack: Nack) -> int | None:
        """The receiver does not take this message: withdraw it. Returns its size, None if it is
        settled already.
        """
        if nack.stream != self.stream or nack.seq < self._acked[0]:
            return None
        if (nack.seq, 0) >= self._furthest:
            raise MalformedPacket("it refuses what was never sent")
        self.acknowledge(Ack(nack.stream, nack.urgent, nack.seq, 0))  # it has settled all before
        size = self._messages.popleft().total
        self._acked = (nack.seq + 1, 0)
        self._furthest = max(self._furthest, self._acked)
        self.rewind()
        return size

    def rewind(self) -> None:
        """Send again from the first byte that is not acknowledged: the connection is a new one."""
        self._next = self._acked
        self._flight.clear()

    def probe(self) -> Probe:
        """Ask for the receiver's position."""
        return Probe(self.stream, self.urgent, self._acked[0], *self._next)


class Inbox:
    """One stream on its way in. Holds the bytes of at most one message, and only after its size was
    allowed.
    """

    def __init__(self, urgent: bool = False) -> None:
        self._urgent = urgent
        self._stream = b""
        self._seq = self._offset = 0
        self._asked: Position | None = None  # where we have asked to rewind to; once is enough
        self.drop()

    def drop(self) -> None:
        """Throw away what has arrived of an unfinished message."""
        self._offset, self._frames, self._index, self._fill = 0, list[bytearray](), 0, 0

    def reconnected(self) -> None:
        """A hole after this is a new one."""
        self._asked = None

    @property
    def held(self) -> int:
        """Bytes set aside for the unfinished message."""
        return sum(map(len, self._frames))

    def receive(self, chunk: Data, limit: int) -> tuple[list[Buffer] | None, Ack | Nack | None]:
        """Take a chunk; returns (the message, if this completes one; what to answer).

        `limit`: bytes allowed for one message now. Raises MalformedPacket, and then nothing has
        arrived.
        """
        self._follow(chunk.stream, chunk.base)
        here, there = (self._seq, self._offset), (chunk.seq, chunk.offset)
        if there < here:
            return None, self._position()
        if there > here:
            if self._asked == here:
                return None, None
            self._asked = here
            return None, self._position(rewind=True)
        total = self.held if self._offset else sum(chunk.sizes)
        if total > limit:
            self.drop()
            self._asked = (self._seq, 0)  # the rest of it needs no answer
            return None, Nack(chunk.stream, self._urgent, chunk.seq, max(limit, 0))
        length = sum(len(part) for part in chunk.parts)
        if length > min(CHUNK, total - self._offset) or (length == 0 < total):
            raise MalformedPacket("a chunk is longer than announced, or empty")
        if not self._offset:
            self._frames = [bytearray(size) for size in chunk.sizes]
        for part in chunk.parts:
            self._write(memoryview(part))
        self._offset += length
        if self._offset < total:
            return None, self._position()
        message: list[Buffer] = [
            bytes(f) if len(f) <= CHUNK else memoryview(f).toreadonly() for f in self._frames
        ]
        self.drop()
        self._seq += 1
        return message, self._position()

    def answer(self, probe: Probe) -> Ack:
        """Our position, for a sender that waits too long."""
        self._follow(probe.stream, probe.base)
        return self._position(rewind=(self._seq, self._offset) < (probe.seq, probe.offset))

    def _follow(self, stream: bytes, base: int) -> None:
        if stream != self._stream or base > self._seq:
            self._stream, self._seq, self._asked = stream, base, None
            self.drop()

    def _position(self, rewind: bool = False) -> Ack:
        return Ack(self._stream, self._urgent, self._seq, self._offset, rewind)

    def _write(self, part: memoryview) -> None:
        while part.nbytes:
            frame = self._frames[self._index]
            fits = part[: len(frame) - self._fill]
            frame[self._fill : self._fill + fits.nbytes] = fits
            self._fill, part = self._fill + fits.nbytes, part[fits.nbytes :]
            if self._fill == len(frame):
                self._index, self._fill = self._index + 1, 0


@dataclass(frozen=True)
class TooLong:
    """A message of `size` bytes was not taken, since `limit` were allowed; `ours`: by the peer, of
    us.
    """

    size: int
    limit: int
    ours: bool


class Conversation:
    """All streams with one peer, both ways."""

    def __init__(self) -> None:
        self._in = {False: Inbox(False), True: Inbox(True)}
        self.forget()

    def forget(self) -> None:
        """Drop what waits and what has half arrived; what was delivered stays delivered, and is not
        taken twice.
        """
        self._out = {False: Outbox(False), True: Outbox(True)}
        self._owed: dict[tuple[type, bool], Ack | Nack] = {}  # answers that are not on the wire yet
        for inbox in self._in.values():
            inbox.drop()

    @property
    def pending(self) -> bool:
        """A message of ours is not acknowledged yet."""
        return any(self._out.values())

    def send(self, frames: Sequence[Buffer], urgent: bool) -> bool:
        """Queue a message; False if too many wait."""
        return self._out[urgent].split(frames)

    def next_packet(self) -> Packet | None:
        """What to put on the wire now: answers, then urgent messages, then the others. `sent` says
        that it went out.
        """
        if self._owed:
            return next(iter(self._owed.values()))
        return self._out[True].next_chunk() or self._out[False].next_chunk()

    def sent(self, packet: Packet) -> None:
        """The packet that `next_packet` gave is on its way."""
        if isinstance(packet, Data):
            self._out[packet.urgent].sent(packet)
        elif isinstance(packet, Ack | Nack):
            self._owed.pop((type(packet), packet.urgent), None)

    def probes(self) -> list[Probe]:
        """Questions to ask when nothing was heard for long."""
        return [outbox.probe() for outbox in self._out.values() if outbox.waits]

    def reconnected(self) -> None:
        """A new connection: resend from the first unacknowledged byte."""
        self._owed.clear()
        for urgent in (False, True):
            self._out[urgent].rewind()
            self._in[urgent].reconnected()

    def receive(self, packet: Packet, limit: int) -> list[Buffer] | TooLong | None:
        """Take a packet; returns a message, or that one was too long, or nothing.

        `limit`: bytes allowed for all that is unfinished, this message included. Raises
        MalformedPacket.
        """
        match packet:
            case Data():
                inbox, other = self._in[packet.urgent], self._in[not packet.urgent]
                size = sum(packet.sizes) or inbox.held
                message, answer = inbox.receive(packet, limit - other.held)
                if answer is not None:
                    self._owe(answer)
                if isinstance(answer, Nack):
                    return TooLong(size, answer.limit, ours=False)
                return message
            case Ack():
                self._out[packet.urgent].acknowledge(packet)
            case Nack():
                withdrawn = self._out[packet.urgent].refuse(packet)
                return None if withdrawn is None else TooLong(withdrawn, packet.limit, ours=True)
            case Probe():
                self._owe(self._in[packet.urgent].answer(packet))
            case _:
                raise MalformedPacket("a signal came out of turn")
        return None

    def _owe(self, answer: Ack | Nack) -> None:
        key = (type(answer), answer.urgent)
        before = self._owed.get(key)
        if (
            isinstance(before, Ack)
            and isinstance(answer, Ack)
            and before == replace(answer, rewind=True)
        ):
            return  # the same position, and the question to rewind to it still stands
        self._owed[key] = answer
