"""Sockets: authenticated, reliable, ordered messages between one coordinator and its hospitals (the
only file with zmq).

ROUTER and DEALER with CURVE. Every handshake is put to our own ZAP handler; `ZAP_ENFORCE_DOMAIN`
makes libzmq refuse all if it is missing. The sender of a packet is the `User-Id` that the handler
gave with the key; the routing id is only where the answer goes. What the packets mean is in
`contact` and `transfer`; here they are moved.

Nothing here blocks: a peer that does not read fills its own queue, and only what waits for it
waits. A peer's mistake is an event, never an exception out of `poll`. One thread owns a link;
`wake` alone may be called from others.
"""

from __future__ import annotations

import contextlib
import errno
import os
import queue
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import zmq
from zmq.utils import z85
from zmq.utils.monitor import parse_monitor_message

from federation.transport.address import AddressError, Diagnosis, diagnose, parse_address
from federation.transport.contact import SILENCE_S, Contacts, Dialling, Reception, Route
from federation.transport.events import (
    REPEAT_S,
    Connected,
    Disconnected,
    Event,
    Malformed,
    Received,
    Refused,
)
from federation.transport.packets import CHUNK, Buffer, Packet, encode

__all__ = [
    "AddressError",
    "Connected",
    "CoordinatorLink",
    "CurveKeys",
    "Disconnected",
    "Event",
    "HospitalLink",
]
__all__ += ["Link", "Malformed", "Received", "Refused", "parse_address"]

# "in" or "out", peer, the decrypted frames of one packet
Tap = Callable[[str, bytes, Sequence[Buffer]], None]

ZAP = "inproc://zeromq.zap.01"
DOMAIN = b"flop"
QUEUE = 16  # packets in a socket's queue, per peer: above two windows and their answers
BATCH = 64  # packets taken in one go
# a chunk, and what CURVE adds to it; also above the longest header, 8 bytes for each of MAX_FRAMES
LONGEST = CHUNK + (1 << 14)
HEARTBEAT_S, DEAD_S = 5, 30  # one chunk must pass within DEAD_S: 0.3 Mbit/s
CONNECT_S = 4
BLOCKED_S = 0.02  # a full queue is tried again after this
FAREWELL_S = 0.2  # for the last acknowledgements to leave


@dataclass(frozen=True)
class CurveKeys:
    """A CURVE key pair: two times 32 raw bytes. `public` is the party's identity everywhere else in
    the project.
    """

    public: bytes
    secret: bytes = field(repr=False)

    @classmethod
    def generate(cls) -> CurveKeys:
        """A new pair from the operating system's randomness."""
        public, secret = zmq.curve_keypair()
        return cls(z85.decode(public), z85.decode(secret))


class Link:
    """What both sides share: the loop and the queues."""

    address: str  # the endpoint that is listened at (with the real port), or that is dialled

    def __init__(self, kind: int, keys: CurveKeys, contacts: Contacts, tap: Tap | None) -> None:
        self._contacts, self._tap = contacts, tap
        self._owner: tuple[int, int] | None = None
        self._awake = self._blocked = self._closed = False
        self._wake_in, self._wake_out = socket.socketpair()
        self._wake_in.setblocking(False)
        self._wake_out.setblocking(False)
        self._context = zmq.Context()
        self._socket = self._context.socket(kind)
        self._set(zmq.CURVE_PUBLICKEY, z85.encode(keys.public))
        self._set(zmq.CURVE_SECRETKEY, z85.encode(keys.secret))
        self._set(zmq.SNDHWM, QUEUE)
        self._set(zmq.RCVHWM, QUEUE)
        self._set(zmq.MAXMSGSIZE, LONGEST)
        self._set(zmq.HEARTBEAT_IVL, HEARTBEAT_S * 1000)
        self._set(zmq.HEARTBEAT_TIMEOUT, DEAD_S * 1000)
        self._set(zmq.HANDSHAKE_IVL, int(SILENCE_S * 1000))
        self._monitor = self._socket.get_monitor_socket()
        self._poller = zmq.Poller()
        for source in (self._socket, self._monitor, self._wake_in):
            self._poller.register(source, zmq.POLLIN)

    def send(self, peer: bytes, frames: Sequence[Buffer], urgent: bool = False) -> bool:
        """Queue a message; never blocks. The frames are not copied, and must not change before the
        peer has them.

        `urgent` overtakes what waits (urgent ones keep their order). False, and a Refused event:
        too many messages wait. Raises ValueError for no frames, or more than `packets.MAX_FRAMES`.
        """
        self._own()
        return self._contacts.send(peer, frames, urgent)

    def poll(self, timeout_s: float) -> list[Event]:
        """Serve the sockets until there is an event, `wake` is called, or the time is over."""
        self._own()
        end = time.monotonic() + timeout_s
        while True:
            self._flush()
            left = end - time.monotonic()
            last = bool(self._contacts.announcements) or self._awake or left <= 0
            wait = 0.0 if last else min(left, BLOCKED_S if self._blocked else 1.0)
            self._poller.poll(int(wait * 1000 + 0.999))
            with contextlib.suppress(BlockingIOError):
                self._awake |= bool(self._wake_in.recv(1 << 16))
            self._serve(time.monotonic())
            if last:
                break
        self._flush()
        self._awake = False
        return self._contacts.announcements.take()

    def wake(self) -> None:
        """Make `poll` return at once; from any thread."""
        with contextlib.suppress(OSError):  # full: it wakes anyway; closed: nobody sleeps
            self._wake_out.send(b"\0")

    def forget(self, peer: bytes) -> None:
        """Drop what waits for this peer and what it has half sent. What it delivered stays
        delivered.
        """
        self._own()
        self._contacts.forget(peer)

    def heard(self, peer: bytes) -> float | None:
        """When a packet last came from this peer, on `time.monotonic`'s clock: the progress of a
        long transfer.
        """
        return self._contacts.heard.get(peer)

    def close(self, linger_s: float = 0.0) -> None:
        """Wait up to `linger_s` until connected peers have what was sent, then close. What they
        send then is not taken.
        """
        if self._closed or (self._owner is not None and self._owner[0] != os.getpid()):
            return  # a forked child has no sockets to close
        self._owner, self._contacts.closing = None, True
        end = time.monotonic() + linger_s
        while (left := end - time.monotonic()) > 0 and self._contacts.pending():
            self.poll(min(0.1, left))
        self._closed = True
        self._socket.disable_monitor()
        self._socket.close(linger=int(max(FAREWELL_S, left) * 1000))
        self._monitor.close(linger=0)
        self._shut()
        self._context.term()
        self._wake_in.close()
        self._wake_out.close()

    def _serve(self, now: float) -> None:
        """Take what has arrived at all sockets."""
        raise NotImplementedError

    def _unreachable(self, peer: bytes, route: Route) -> None:
        """libzmq does not know this route any more."""

    def _shut(self) -> None:
        """Close the sockets that only this side has."""

    def _set(self, option: int, value: int | bytes) -> None:
        self._socket.setsockopt(option, value)

    def _own(self) -> None:
        here = (os.getpid(), threading.get_ident())
        self._owner = self._owner or here
        if self._owner != here or self._closed:
            raise RuntimeError("a link belongs to the one thread that uses it, until it is closed")

    def _arrivals(self, source: zmq.Socket[Any], copy: bool = True) -> Iterator[Any]:
        """What lies in a socket's queue, at most BATCH."""
        with contextlib.suppress(zmq.Again):
            for _ in range(BATCH):
                yield source.recv_multipart(zmq.NOBLOCK, copy=copy)

    def _flush(self) -> None:
        """Send all that goes without waiting."""
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
        frames = encode(packet)
        try:
            self._socket.send_multipart([*route, *frames], zmq.NOBLOCK)
        except zmq.Again:
            self._blocked = True
            return False
        except zmq.ZMQError as error:
            if error.errno != errno.EHOSTUNREACH:
                raise
            self._contacts.signals.pop((peer, route), None)
            self._unreachable(peer, route)
            return False
        if self._tap is not None:
            self._tap("out", peer, frames)
        return True


class CoordinatorLink(Link):
    """The listening side. `admits(public key)` is asked at every handshake and for every packet, so
    it must be quick.

    `limit(peer)`: bytes that may arrive from this peer and be unfinished, now. Raises AddressError
    if it cannot listen.
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
        super().__init__(zmq.ROUTER, keys, self._reception, tap)
        self._zap = self._context.socket(zmq.REP)
        self._zap.bind(ZAP)
        self._poller.register(self._zap, zmq.POLLIN)
        self._set(zmq.CURVE_SERVER, 1)
        self._set(zmq.ZAP_DOMAIN, DOMAIN)
        self._set(zmq.ZAP_ENFORCE_DOMAIN, 1)
        self._set(zmq.ROUTER_MANDATORY, 1)
        self._set(zmq.IPV6, int("[" in endpoint or "*" in endpoint))
        try:
            self._socket.bind(endpoint)
        except zmq.ZMQError as error:
            self.close()
            hint = "write an address of this machine, or *, and a port that no other program uses"
            raise AddressError(f"cannot listen at {bind!r} ({error.strerror}): {hint}") from None
        self.address = self._socket.getsockopt_string(zmq.LAST_ENDPOINT)

    def _serve(self, now: float) -> None:
        self._watch(now)
        for request in self._arrivals(self._zap):
            self._authenticate(request, now)
        for routing, *body in self._arrivals(self._socket, copy=False):
            peer, line = bytes.fromhex(body[-1].get("User-Id")), body[-1].get(zmq.SRCFD)
            views = [frame.buffer for frame in body]
            if self._tap is not None:
                self._tap("in", peer, views)
            # first the end of a connection, then a new one with the same descriptor
            self._watch(now)
            self._reception.receive(peer, (routing.bytes,), line, views, now)

    def _watch(self, now: float) -> None:
        for message in self._arrivals(self._monitor):
            event = parse_monitor_message(message)
            if event["event"] == zmq.EVENT_DISCONNECTED:
                self._reception.hung_up(event["value"])
            elif event["event"] in (
                zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL,
                zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL,
            ):
                what = (
                    "somebody connected who is no hospital, or whose coordinator's key is not ours;"
                    " it got nothing"
                )
                self._reception.announcements.say_seldom(Refused(self.address, what), now, REPEAT_S)

    def _authenticate(self, request: list[bytes], now: float) -> None:
        """One ZAP request (RFC 27). Whatever happens it is answered, and the answer is no unless
        all is right.
        """
        answer = [b"400", b"not in the roster", b"", b""]
        try:
            if len(request) == 7 and request[2] == DOMAIN and request[5] == b"CURVE":
                address, key = request[3].decode(errors="replace"), request[6]
                if self._reception.authenticate(key, address, now):
                    answer = [b"200", b"OK", key.hex().encode(), b""]
        finally:
            self._zap.send_multipart([b"1.0", request[1], *answer])

    def _unreachable(self, peer: bytes, route: Route) -> None:
        self._reception.lost(peer, route)

    def _shut(self) -> None:
        self._zap.close(linger=0)


class HospitalLink(Link):
    """The connecting side; its only peer is the coordinator. It goes on trying until it is closed."""

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
        super().__init__(zmq.DEALER, keys, self._dialling, tap)
        self._findings: queue.SimpleQueue[Diagnosis] = queue.SimpleQueue()
        self._diagnose_at = 0.0
        self._ipv6 = "[" in self.address
        self._set(zmq.CURVE_SERVERKEY, z85.encode(coordinator_public))
        self._set(zmq.IMMEDIATE, 1)  # nothing is queued for a connection that is not there
        self._set(zmq.CONNECT_TIMEOUT, CONNECT_S * 1000)
        self._set(zmq.RECONNECT_IVL, 250)
        self._set(zmq.RECONNECT_IVL_MAX, 3000)
        self._dial(self._ipv6)

    def _dial(self, ipv6: bool) -> None:
        self._ipv6 = ipv6
        with contextlib.suppress(zmq.ZMQError):  # the first time, or libzmq has given up already
            self._socket.disconnect(self.address)
        self._set(zmq.IPV6, int(ipv6))  # libzmq looks a name up in one family only
        self._socket.connect(self.address)

    def _serve(self, now: float) -> None:
        for message in self._arrivals(self._monitor):
            event = parse_monitor_message(message)
            self._watch(event["event"], event["value"], now)
        for frames in self._arrivals(self._socket, copy=False):
            views = [frame.buffer for frame in frames]
            if self._tap is not None:
                self._tap("in", self._peer, views)
            self._dialling.receive(views, now)
        with contextlib.suppress(queue.Empty):
            found = self._findings.get_nowait()
            self._dialling.diagnosed(found, now)
            if found.reason is None and found.ipv6 != self._ipv6:
                self._dial(found.ipv6)
        if self._dialling.tick(now):
            self._dial(self._ipv6)

    def _watch(self, event: int, value: int, now: float) -> None:
        match event:
            case zmq.EVENT_CONNECTED:
                self._dialling.connected(now)
            case zmq.EVENT_HANDSHAKE_SUCCEEDED:
                self._dialling.secured(now)
            case zmq.EVENT_HANDSHAKE_FAILED_AUTH:
                self._dialling.not_admitted(now)
            case zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL | zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL:
                self._dialling.not_recognised(value == errno.EAGAIN, now)
            case zmq.EVENT_DISCONNECTED:
                self._dialling.hung_up(now)
            case zmq.EVENT_CONNECT_RETRIED:
                if self._dialling.redials(now) and now >= self._diagnose_at:
                    self._diagnose_at = now + REPEAT_S
                    threading.Thread(target=self._find_out, daemon=True).start()

    def _find_out(self) -> None:
        """In a thread of its own, since looking up a name may block. Touches no zmq socket."""
        self._findings.put(diagnose(self.address))
        self.wake()
