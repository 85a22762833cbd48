"""The peers of a link and the conversation with each. No I/O; time comes in as `now`.

A hospital sends OPEN on each new connection and the coordinator answers OPENED; from then on both
send what the other has not yet acknowledged. `reception` is the coordinator's side, `dialling` a
hospital's.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from federation.transport.conversation import Conversation, TooLong
from federation.transport.events import Announcements, Denied, Received, Violation
from federation.transport.packets import Buffer, Data, Packet, Probe, Signal

PROBE_S = 10.0  # silence while something is under way, before a probe is sent
SILENCE_S = 7.0  # without an answer to a handshake or to OPEN: tell the operator

# Where packets for a peer go: at the coordinator the routing id of its newest connection, at a
# hospital nothing, since there is only one way.
Route = tuple[bytes, ...]


class Contacts:
    """What both sides share: a conversation with every peer, and the events."""

    def __init__(self, limit: Callable[[bytes], int]) -> None:
        self.announcements = Announcements()
        # to be sent when possible; only the latest one for each route
        self.signals: dict[tuple[bytes, Route], Signal] = {}
        self.heard: dict[bytes, float] = {}  # when a packet last came
        self.closing = False
        self._limit = limit
        self._conversations: dict[bytes, Conversation] = {}
        self._quiet: dict[bytes, float] = {}  # when nothing was under way, or we last sent a probe

    def conversation(self, peer: bytes) -> Conversation:
        """Return the conversation with this peer; a new one if there is none."""
        if peer not in self._conversations:
            self._conversations[peer] = Conversation()
        return self._conversations[peer]

    def routes(self) -> list[tuple[bytes, Route]]:
        """Return the connected peers, each with the route of its newest connection."""
        raise NotImplementedError

    def pending(self) -> bool:
        """Return True if a connected peer has not acknowledged everything."""
        return any(self.conversation(peer).pending for peer, _ in self.routes())

    def send(self, peer: bytes, frames: Sequence[Buffer], urgent: bool) -> bool:
        """Queue a message. Returns False, and reports it, if too many wait."""
        if self.conversation(peer).send(frames, urgent):
            return True
        self.announcements.say(
            Denied(peer, "too many messages wait for this peer: the newest one was dropped")
        )
        return False

    def forget(self, peer: bytes) -> None:
        """Drop the messages that wait for this peer and those that it has sent in part."""
        if peer in self._conversations:
            self._conversations[peer].forget()

    def probes(self, now: float) -> list[tuple[bytes, Route, Probe]]:
        """Return probes for peers that have been silent while something is under way."""
        due = []
        for peer, route in self.routes():
            questions = self.conversation(peer).probes()
            if (
                questions
                and now - max(self.heard.get(peer, 0.0), self._quiet.setdefault(peer, now))
                <= PROBE_S
            ):
                continue
            self._quiet[peer] = now
            due += [(peer, route, question) for question in questions]
        return due

    def _converse(self, peer: bytes, packet: Packet) -> None:
        if self.closing and isinstance(packet, Data):
            return  # the owner would never see the message, so it must not be acknowledged
        outcome = self.conversation(peer).receive(packet, self._limit(peer))
        if isinstance(outcome, TooLong):
            sizes = f"a message of {outcome.size:,} bytes; {outcome.limit:,} are allowed now"
            if outcome.ours:
                self.announcements.say(Denied(peer, f"it did not accept {sizes}"))
            else:
                self.announcements.say(Violation(peer, f"it tried to send {sizes}"))
        elif outcome is not None:
            self.announcements.say(Received(peer, outcome))
