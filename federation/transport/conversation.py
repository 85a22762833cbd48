"""All traffic with one peer: two streams each way, and the answers to its packets.

Normal and urgent messages are independent streams, so that a short message overtakes a long upload.
No I/O, no clock.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from federation.transport.packets import Ack, Buffer, Data, MalformedPacket, Nack, Packet, Probe
from federation.transport.transfer import Inbox, Outbox


@dataclass(frozen=True)
class TooLong:
    """A message of `size` bytes was refused because only `limit` were allowed.

    `ours`: it was our message, and the peer refused it.
    """

    size: int
    limit: int
    ours: bool


class Conversation:
    """All streams with one peer in both directions."""

    def __init__(self) -> None:
        self._in = {False: Inbox(False), True: Inbox(True)}
        self.forget()

    def forget(self) -> None:
        """Drop waiting and unfinished messages. What was delivered is not taken a second time."""
        self._out = {False: Outbox(False), True: Outbox(True)}
        self._owed: dict[tuple[type, bool], Ack | Nack] = {}  # answers to be sent
        for inbox in self._in.values():
            inbox.drop()

    @property
    def pending(self) -> bool:
        """True if a message of ours is not acknowledged yet."""
        return any(self._out.values())

    def send(self, frames: Sequence[Buffer], urgent: bool) -> bool:
        """Queue a message. Returns False if too many wait."""
        return self._out[urgent].add(frames)

    def next_packet(self) -> Packet | None:
        """Return the packet to send now: answers first, then urgent messages, then the others.

        Call `sent` when it is out.
        """
        if self._owed:
            return next(iter(self._owed.values()))
        return self._out[True].next_chunk() or self._out[False].next_chunk()

    def sent(self, packet: Packet) -> None:
        """Note that the packet from `next_packet` was sent."""
        if isinstance(packet, Data):
            self._out[packet.urgent].sent(packet)
        elif isinstance(packet, Ack | Nack):
            self._owed.pop((type(packet), packet.urgent), None)

    def probes(self) -> list[Probe]:
        """Return the questions to ask when no packet has come for long."""
        return [outbox.probe() for outbox in self._out.values() if outbox.waits]

    def reconnected(self) -> None:
        """Note a new connection: resend from the first unacknowledged byte."""
        self._owed.clear()
        for urgent in (False, True):
            self._out[urgent].rewind()
            self._in[urgent].reconnected()

    def receive(self, packet: Packet, limit: int) -> list[Buffer] | TooLong | None:
        """Take a packet.

        Args:
            packet: What arrived.
            limit: How many bytes all unfinished messages of this peer may have, this one included.

        Returns:
            A whole message, or that one was too long, or None.

        Raises:
            MalformedPacket: If no correct peer would send this packet now.
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
            return  # the same position, and the request to rewind still waits
        self._owed[key] = answer
