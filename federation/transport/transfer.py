"""One stream of messages of any size, cut into chunks and put together again. No I/O, no clock.

The pipe below takes small packets and may lose, repeat or reorder them. A message is a list of
frames. The receiver acknowledges its *position*, (message number, byte offset), and takes only the
chunk that starts there (go-back-N: TCP is below, so a hole means a lost connection and not a lost
packet). Three rules deliver each message exactly once while both ends live, and let a restarted
receiver catch up:

- Every `Outbox` has a random `stream` name. A receiver that does not know it starts afresh.
- Every chunk carries `base`, the oldest message that is not settled. A fresh receiver starts there,
  and a message that was refused is passed over.
- A receiver that sees a hole, from a chunk or a `Probe`, answers with its position and `rewind`.
"""

from __future__ import annotations

import secrets
from bisect import bisect_right
from collections import deque
from collections.abc import Sequence
from itertools import accumulate

from federation.transport.packets import (
    CHUNK,
    MAX_FRAMES,
    Ack,
    Buffer,
    Data,
    MalformedPacket,
    Nack,
    Probe,
)

Position = tuple[int, int]  # message number in its stream, offset in bytes

WINDOW = 4  # packets of one stream under way without an acknowledgement
WAITING = 64  # messages that wait in one outbox
_SMALL = 1 << 16  # pieces below are joined: one copy is cheaper than many parts


class _Message:
    """An outgoing message: views of frames that must not change before it is acknowledged."""

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
        """Return at most `length` bytes from `offset` as slices of the frames, joined if short."""
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
    """The sending end of one stream."""

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
        """Return the number of messages that are not yet acknowledged."""
        return len(self._messages)

    @property
    def waits(self) -> bool:
        """True if a packet is under way and not acknowledged."""
        return bool(self._flight)

    def add(self, frames: Sequence[Buffer]) -> bool:
        """Queue a message without copying it. Returns False if too many wait already.

        Raises:
            ValueError: If there are no frames, or more than MAX_FRAMES.
        """
        if len(self._messages) >= self._waiting:
            return False
        self._messages.append(_Message(frames))
        return True

    def next_chunk(self) -> Data | None:
        """Return the chunk to send now, None if the window is full. Call `sent` when it is out."""
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
        """Note that this chunk, the last one from `next_chunk`, was sent."""
        end = chunk.offset + sum(len(part) for part in chunk.parts)
        whole = end == self._messages[chunk.seq - self._acked[0]].total
        self._next = (chunk.seq + 1, 0) if whole else (chunk.seq, end)
        self._furthest = max(self._furthest, self._next)
        self._flight.append(self._next)

    def acknowledge(self, ack: Ack) -> None:
        """Take the receiver's position.

        Raises:
            MalformedPacket: If that position is beyond what was sent.
        """
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
        """Withdraw a message that the receiver does not take.

        Returns:
            Its size in bytes, or None if it is settled already.

        Raises:
            MalformedPacket: If that message was never sent.
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
        """Send again from the first unacknowledged byte, after a new connection."""
        self._next = self._acked
        self._flight.clear()

    def probe(self) -> Probe:
        """Return the packet that asks for the receiver's position."""
        return Probe(self.stream, self.urgent, self._acked[0], *self._next)


class Inbox:
    """The receiving end of one stream.

    It holds the bytes of at most one message, and only if that message's size is allowed.
    """

    def __init__(self, urgent: bool = False) -> None:
        self._urgent = urgent
        self._stream = b""
        self._seq = self._offset = 0
        self._asked: Position | None = None  # to rewind to; once is enough
        self.drop()

    def drop(self) -> None:
        """Discard the bytes of an unfinished message."""
        self._offset, self._frames, self._index, self._fill = 0, list[bytearray](), 0, 0

    def reconnected(self) -> None:
        """Note a new connection: a hole that is seen from now on is a new one."""
        self._asked = None

    @property
    def held(self) -> int:
        """Bytes allocated for the unfinished message."""
        return sum(map(len, self._frames))

    def receive(self, chunk: Data, limit: int) -> tuple[list[Buffer] | None, Ack | Nack | None]:
        """Take a chunk.

        Args:
            chunk: What arrived.
            limit: How many bytes one message may have now.

        Returns:
            The message if this chunk completes it, and the answer to send; each may be None.

        Raises:
            MalformedPacket: If the chunk contradicts its message. Nothing is taken of it.
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
        """Return our position for a sender that has waited too long."""
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
