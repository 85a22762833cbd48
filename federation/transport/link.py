"""Authenticated, reliable, ordered messages between one coordinator and its hospitals.

A link is one loop over its sockets (`sockets`), its peers and their connections (`reception` at the
coordinator, `dialling` at a hospital) and the transfer of messages in chunks (`conversation`,
`transfer`).

No call blocks for longer than its timeout: a peer that does not read fills only its own queue. A
peer's mistake is an event and never an exception out of `poll`. One thread owns a link; only `wake`
may be called from others.
"""

from __future__ import annotations

import os
import queue
import threading
import time
from collections.abc import Callable, Sequence

from federation.transport.address import AddressError, Diagnosis, diagnose, parse_address
from federation.transport.contacts import SILENCE_S, Contacts, Route
from federation.transport.dialling import Dialling
from federation.transport.events import (
    REPEAT_S,
    Connected,
    Denied,
    Disconnected,
    Event,
    Received,
    Violation,
)
from federation.transport.packets import Buffer, Packet, encode
from federation.transport.reception import Reception
from federation.transport.sockets import (
    Change,
    CurveKeys,
    DiallingSockets,
    ListeningSockets,
    Sent,
    Sockets,
)

__all__ = [
    "AddressError",
    "Connected",
    "CoordinatorLink",
    "CurveKeys",
    "Denied",
    "Disconnected",
    "Event",
    "HospitalLink",
    "Link",
    "Received",
    "Violation",
    "parse_address",
]

# called with "in" or "out", the peer, and the decrypted frames of one packet
Tap = Callable[[str, bytes, Sequence[Buffer]], None]

BLOCKED_S = 0.02  # a full queue is tried again after this
FAREWELL_S = 0.2  # for the last acknowledgements to leave


class Link:
    """What both sides share: the loop over sockets and conversations."""

    address: str  # the endpoint that is listened at (with the real port), or that is dialled

    def __init__(self, sockets: Sockets, contacts: Contacts, tap: Tap | None) -> None:
        self._sockets, self._contacts, self._tap = sockets, contacts, tap
        self._owner: tuple[int, int] | None = None
        self._awake = self._blocked = self._closed = False

    def send(self, peer: bytes, frames: Sequence[Buffer], urgent: bool = False) -> bool:
        """Queue a message; never blocks.

        Args:
            peer: The receiver's CURVE public key.
            frames: 1 to `packets.MAX_FRAMES` buffers. They are not copied, and must not change
                before the peer has acknowledged them.
            urgent: The message overtakes normal ones that wait; urgent ones keep their order.

        Returns:
            False, together with a `Denied` event, if too many messages wait for this peer.

        Raises:
            ValueError: If there are no frames or too many.
        """
        self._check_owner()
        return self._contacts.send(peer, frames, urgent)

    def poll(self, timeout_s: float) -> list[Event]:
        """Serve the sockets until there is an event, `wake` is called, or the time is over."""
        self._check_owner()
        end = time.monotonic() + timeout_s
        while True:
            self._flush()
            left = end - time.monotonic()
            last = bool(self._contacts.announcements) or self._awake or left <= 0
            wait = 0.0 if last else min(left, BLOCKED_S if self._blocked else 1.0)
            self._awake |= self._sockets.wait(wait)
            self._serve(time.monotonic())
            if last:
                break
        self._flush()
        self._awake = False
        return self._contacts.announcements.take()

    def wake(self) -> None:
        """Make `poll` return at once; may be called from any thread."""
        self._sockets.wake()

    def forget(self, peer: bytes) -> None:
        """Drop the messages that wait for this peer and those that it has sent in part."""
        self._check_owner()
        self._contacts.forget(peer)

    def heard(self, peer: bytes) -> float | None:
        """Return when a packet last came from this peer (`time.monotonic`), None if none came.

        During a long transfer this is its progress.
        """
        return self._contacts.heard.get(peer)

    def close(self, linger_s: float = 0.0) -> None:
        """Wait up to `linger_s` until connected peers have acknowledged everything, then close.

        Messages that peers begin to send in that time are not taken.
        """
        if self._closed or (self._owner is not None and self._owner[0] != os.getpid()):
            return  # a forked child has no sockets to close
        self._owner, self._contacts.closing = None, True
        end = time.monotonic() + linger_s
        while (left := end - time.monotonic()) > 0 and self._contacts.pending():
            self.poll(min(0.1, left))
        self._closed = True
        self._sockets.close(max(FAREWELL_S, left))

    def _serve(self, now: float) -> None:
        """Take what has arrived at all sockets."""
        raise NotImplementedError

    def _unreachable(self, peer: bytes, route: Route) -> None:
        """React to a route that libzmq no longer knows."""

    def _check_owner(self) -> None:
        here = (os.getpid(), threading.get_ident())
        self._owner = self._owner or here
        if self._owner != here or self._closed:
            raise RuntimeError("a link belongs to the one thread that uses it, until it is closed")

    def _flush(self) -> None:
        """Send everything that can be sent without waiting."""
        self._blocked = False
        for (peer, route), signal in list(self._contacts.signals.items()):
            if self._put(peer, route, signal):
                self._contacts.signals.pop((peer, route), None)
        for peer, route, probe in self._contacts.probes(time.monotonic()):
            self._put(peer, route, probe)
        for peer, route in self._contacts.routes():
            conversation = self._contacts.conversation(peer)
            while (packet := conversation.next_packet()) is not None and self._put(
                peer, route, packet
            ):
                conversation.sent(packet)

    def _put(self, peer: bytes, route: Route, packet: Packet) -> bool:
        """Send one packet now; returns False if it did not go out."""
        frames = encode(packet)
        match self._sockets.put([*route, *frames]):
            case Sent.FULL:
                self._blocked = True
                return False
            case Sent.UNREACHABLE:
                self._contacts.signals.pop((peer, route), None)
                self._unreachable(peer, route)
                return False
        if self._tap is not None:
            self._tap("out", peer, frames)
        return True


class CoordinatorLink(Link):
    """The listening side.

    Args:
        bind: Where to listen, `host:port`; the host may be `*`, the port 0 (any free one).
        keys: The coordinator's key pair.
        admits: Called with a public key at every handshake and for every packet; must be quick.
        limit: Called with a public key; returns how many bytes of unfinished messages this peer may
            have under way now.
        tap: Sees every packet.

    Raises:
        AddressError: If it cannot listen there.
    """

    def __init__(
        self,
        bind: str,
        keys: CurveKeys,
        admits: Callable[[bytes], bool],
        limit: Callable[[bytes], int],
        tap: Tap | None = None,
    ) -> None:
        endpoint = parse_address(bind)
        self._reception = Reception(admits, limit)
        self._listening = ListeningSockets(keys, SILENCE_S)
        super().__init__(self._listening, self._reception, tap)
        try:
            self.address = self._listening.listen(endpoint)
        except AddressError as error:
            self.close()
            hint = "write an address of this machine, or *, and a port that no other program uses"
            raise AddressError(f"cannot listen at {bind!r} ({error}): {hint}") from None

    def _serve(self, now: float) -> None:
        self._watch(now)
        self._listening.authenticate(
            lambda key, address: self._reception.authenticate(key, address, now)
        )
        for packet in self._listening.packets():
            if self._tap is not None:
                self._tap("in", packet.peer, packet.frames)
            # first the end of a connection, then a new one with the same descriptor
            self._watch(now)
            self._reception.receive(
                packet.peer, (packet.routing_id,), packet.line, packet.frames, now
            )

    def _watch(self, now: float) -> None:
        for change, value in self._listening.changes():
            if change is Change.DISCONNECTED:
                self._reception.hung_up(value)
            elif change in (Change.NOT_RECOGNISED, Change.UNANSWERED):
                what = (
                    "a program connected that is not a hospital, or that expects a coordinator with"
                    " another key; it received nothing"
                )
                self._reception.announcements.say_seldom(Denied(self.address, what), now, REPEAT_S)

    def _unreachable(self, peer: bytes, route: Route) -> None:
        self._reception.lost(peer, route)


class HospitalLink(Link):
    """The connecting side; its only peer is the coordinator. It tries again until it is closed.

    Args:
        connect: The coordinator's address, `host:port`.
        keys: This hospital's key pair.
        coordinator_public: The coordinator's CURVE public key; no other is accepted.
        limit: As for `CoordinatorLink`.
        tap: Sees every packet.

    Raises:
        AddressError: If `connect` is not an address to connect to.
    """

    def __init__(
        self,
        connect: str,
        keys: CurveKeys,
        coordinator_public: bytes,
        limit: Callable[[bytes], int],
        tap: Tap | None = None,
    ) -> None:
        self.address = parse_address(connect)
        if "*" in self.address or self.address.endswith(":0"):
            raise AddressError(
                f"{connect!r} is an address to listen at; write the coordinator's host and port"
            )
        self._peer = coordinator_public
        self._dialling = Dialling(
            self.address, keys.public, coordinator_public, limit, time.monotonic()
        )
        self._dialled = DiallingSockets(keys, coordinator_public, SILENCE_S)
        super().__init__(self._dialled, self._dialling, tap)
        self._findings: queue.SimpleQueue[Diagnosis] = queue.SimpleQueue()
        self._diagnose_at = 0.0
        self._ipv6 = "[" in self.address
        self._dial(self._ipv6)

    def _dial(self, ipv6: bool) -> None:
        self._ipv6 = ipv6
        self._dialled.dial(self.address, ipv6)

    def _serve(self, now: float) -> None:
        for change, _ in self._dialled.changes():
            self._watch(change, now)
        for frames in self._dialled.packets():
            if self._tap is not None:
                self._tap("in", self._peer, frames)
            self._dialling.receive(frames, now)
        if not self._findings.empty():
            found = self._findings.get_nowait()
            self._dialling.diagnosed(found, now)
            if found.reason is None and found.ipv6 != self._ipv6:
                self._dial(found.ipv6)
        if self._dialling.tick(now):
            self._dial(self._ipv6)

    def _watch(self, change: Change, now: float) -> None:
        match change:
            case Change.CONNECTED:
                self._dialling.connected(now)
            case Change.SECURED:
                self._dialling.secured(now)
            case Change.NOT_ADMITTED:
                self._dialling.not_admitted(now)
            case Change.NOT_RECOGNISED | Change.UNANSWERED:
                self._dialling.not_recognised(change is Change.UNANSWERED, now)
            case Change.DISCONNECTED:
                self._dialling.hung_up(now)
            case Change.RETRIED:
                if self._dialling.redials(now) and now >= self._diagnose_at:
                    self._diagnose_at = now + REPEAT_S
                    threading.Thread(target=self._find_out, daemon=True).start()

    def _find_out(self) -> None:
        """Look for the reason in a thread of its own, since looking up a name may block."""
        self._findings.put(diagnose(self.address))
        self.wake()
