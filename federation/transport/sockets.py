"""ZeroMQ sockets with CURVE, as the link needs them. The only file that imports zmq.

A coordinator listens with a ROUTER socket, a hospital dials with a DEALER socket. Our own ZAP
handler (RFC 27) decides on every handshake at the coordinator, and `ZAP_ENFORCE_DOMAIN` makes
libzmq refuse all handshakes if that handler is missing. The sender of a packet is the `User-Id`
that the handler returned together with the key; the routing id only says where an answer goes.

Nothing here blocks except `wait`, and nothing here knows what a packet means.
"""

from __future__ import annotations

import contextlib
import errno
import socket
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Any

import zmq
from zmq.utils import z85
from zmq.utils.monitor import parse_monitor_message

from federation.transport.address import AddressError
from federation.transport.packets import CHUNK, Buffer

ZAP = "inproc://zeromq.zap.01"
DOMAIN = b"flop"
QUEUE = 16  # packets in a socket's queue for each peer: more than two windows and their answers
BATCH = 64  # packets taken from a socket in one go
# one chunk and what CURVE adds to it; also above the longest header, 8 bytes for each of MAX_FRAMES
LONGEST = CHUNK + (1 << 14)
HEARTBEAT_S, DEAD_S = 5, 30  # one chunk must pass within DEAD_S: 0.3 Mbit/s
CONNECT_S = 4
RECONNECT_MS, RECONNECT_MAX_MS = 250, 3000


@dataclass(frozen=True)
class CurveKeys:
    """A CURVE key pair, 32 raw bytes each. `public` identifies the party in the whole project."""

    public: bytes
    secret: bytes = field(repr=False)

    @classmethod
    def generate(cls) -> CurveKeys:
        """Return a new pair from the operating system's randomness."""
        public, secret = zmq.curve_keypair()
        return cls(z85.decode(public), z85.decode(secret))


class Change(Enum):
    """What libzmq's monitor reports about a TCP connection and its handshake."""

    CONNECTED = auto()  # TCP is established
    SECURED = auto()  # the handshake succeeded
    NOT_ADMITTED = auto()  # the coordinator's ZAP handler refused this key
    NOT_RECOGNISED = auto()  # the handshake failed in another way
    UNANSWERED = auto()  # the handshake was not answered in time
    DISCONNECTED = auto()  # TCP is gone
    RETRIED = auto()  # libzmq dials again


_CHANGES: dict[int, Change] = {
    zmq.EVENT_CONNECTED: Change.CONNECTED,
    zmq.EVENT_HANDSHAKE_SUCCEEDED: Change.SECURED,
    zmq.EVENT_HANDSHAKE_FAILED_AUTH: Change.NOT_ADMITTED,
    zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL: Change.NOT_RECOGNISED,
    zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL: Change.NOT_RECOGNISED,
    zmq.EVENT_DISCONNECTED: Change.DISCONNECTED,
    zmq.EVENT_CONNECT_RETRIED: Change.RETRIED,
}


class Sent(Enum):
    """What became of a packet."""

    QUEUED = auto()
    FULL = auto()  # the queue of this peer is full: try again later
    UNREACHABLE = auto()  # libzmq no longer knows this route


class Sockets:
    """One data socket, its monitor, and a pipe that wakes a waiting thread."""

    def __init__(self, kind: int, keys: CurveKeys, handshake_s: float) -> None:
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
        self._set(zmq.HANDSHAKE_IVL, int(handshake_s * 1000))
        self._monitor = self._socket.get_monitor_socket()
        self._poller = zmq.Poller()
        for source in (self._socket, self._monitor, self._wake_in):
            self._poller.register(source, zmq.POLLIN)

    def wait(self, timeout_s: float) -> bool:
        """Wait until something arrives or the time is over. Returns True if `wake` was called."""
        self._poller.poll(int(timeout_s * 1000 + 0.999))
        with contextlib.suppress(BlockingIOError):
            return bool(self._wake_in.recv(1 << 16))
        return False

    def wake(self) -> None:
        """Make `wait` return at once; may be called from any thread."""
        with contextlib.suppress(OSError):  # full: it wakes anyway; closed: no one waits
            self._wake_out.send(b"\0")

    def put(self, frames: Sequence[Buffer]) -> Sent:
        """Hand one packet to libzmq without waiting."""
        try:
            self._socket.send_multipart(frames, zmq.NOBLOCK)
        except zmq.Again:
            return Sent.FULL
        except zmq.ZMQError as error:
            if error.errno != errno.EHOSTUNREACH:
                raise
            return Sent.UNREACHABLE
        return Sent.QUEUED

    def changes(self) -> Iterator[tuple[Change, int]]:
        """Yield what happened to connections, each with its file descriptor."""
        for message in self._arrivals(self._monitor):
            event = parse_monitor_message(message)
            change, value = _CHANGES.get(event["event"]), int(event["value"])
            # for this event the value is an error number and not a file descriptor
            if event["event"] == zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL and value == errno.EAGAIN:
                change = Change.UNANSWERED
            if change is not None:
                yield change, value

    def close(self, linger_s: float) -> None:
        """Close everything; packets that are queued have `linger_s` to leave."""
        self._socket.disable_monitor()
        self._socket.close(linger=int(linger_s * 1000))
        self._monitor.close(linger=0)
        self._close_more()
        self._context.term()
        self._wake_in.close()
        self._wake_out.close()

    def _close_more(self) -> None:
        """Close the sockets that only one of the two sides has."""

    def _set(self, option: int, value: int | bytes) -> None:
        self._socket.setsockopt(option, value)

    def _arrivals(self, source: zmq.Socket[Any], copy: bool = True) -> Iterator[Any]:
        """Yield what lies in a socket's queue, at most BATCH packets."""
        with contextlib.suppress(zmq.Again):
            for _ in range(BATCH):
                yield source.recv_multipart(zmq.NOBLOCK, copy=copy)


@dataclass(frozen=True)
class Arrival:
    """A packet at the coordinator. `line` is the file descriptor of its connection."""

    peer: bytes
    routing_id: bytes
    line: int
    frames: list[Buffer]


class ListeningSockets(Sockets):
    """The coordinator's side: a ROUTER socket and the ZAP handler's socket."""

    def __init__(self, keys: CurveKeys, handshake_s: float) -> None:
        super().__init__(zmq.ROUTER, keys, handshake_s)
        self._zap = self._context.socket(zmq.REP)
        self._zap.bind(ZAP)
        self._poller.register(self._zap, zmq.POLLIN)
        self._set(zmq.CURVE_SERVER, 1)
        self._set(zmq.ZAP_DOMAIN, DOMAIN)
        self._set(zmq.ZAP_ENFORCE_DOMAIN, 1)
        self._set(zmq.ROUTER_MANDATORY, 1)

    def listen(self, endpoint: str) -> str:
        """Listen at `endpoint`; returns it with the real port.

        Raises:
            AddressError: If this machine cannot listen there. The text says only why.
        """
        self._set(zmq.IPV6, int("[" in endpoint or "*" in endpoint))
        try:
            self._socket.bind(endpoint)
        except zmq.ZMQError as error:
            raise AddressError(str(error.strerror)) from None
        return str(self._socket.getsockopt_string(zmq.LAST_ENDPOINT))

    def packets(self) -> Iterator[Arrival]:
        """Yield the packets of authenticated peers."""
        for routing, *body in self._arrivals(self._socket, copy=False):
            peer, line = bytes.fromhex(body[-1].get("User-Id")), body[-1].get(zmq.SRCFD)
            yield Arrival(peer, routing.bytes, int(line), [frame.buffer for frame in body])

    def authenticate(self, admits: Callable[[bytes, str], bool]) -> None:
        """Answer the ZAP requests that wait: `admits(public key, IP address)`.

        Every request is answered, whatever happens, and the answer is no unless all is right.
        """
        for request in self._arrivals(self._zap):
            answer = [b"400", b"not in the roster", b"", b""]
            try:
                if len(request) == 7 and request[2] == DOMAIN and request[5] == b"CURVE":
                    address, key = request[3].decode(errors="replace"), request[6]
                    if admits(key, address):
                        answer = [b"200", b"OK", key.hex().encode(), b""]
            finally:
                self._zap.send_multipart([b"1.0", request[1], *answer])

    def _close_more(self) -> None:
        self._zap.close(linger=0)


class DiallingSockets(Sockets):
    """A hospital's side: a DEALER socket with one peer, whose key is known beforehand."""

    def __init__(self, keys: CurveKeys, coordinator_public: bytes, handshake_s: float) -> None:
        super().__init__(zmq.DEALER, keys, handshake_s)
        self._set(zmq.CURVE_SERVERKEY, z85.encode(coordinator_public))
        self._set(zmq.IMMEDIATE, 1)  # nothing is queued for a connection that is not there
        self._set(zmq.CONNECT_TIMEOUT, CONNECT_S * 1000)
        self._set(zmq.RECONNECT_IVL, RECONNECT_MS)
        self._set(zmq.RECONNECT_IVL_MAX, RECONNECT_MAX_MS)

    def dial(self, endpoint: str, ipv6: bool) -> None:
        """Connect, again if need be; libzmq looks a host name up in one address family only."""
        with contextlib.suppress(zmq.ZMQError):  # the first time, or libzmq has given up already
            self._socket.disconnect(endpoint)
        self._set(zmq.IPV6, int(ipv6))
        self._socket.connect(endpoint)

    def packets(self) -> Iterator[list[Buffer]]:
        """Yield the frames of each packet from the coordinator."""
        for frames in self._arrivals(self._socket, copy=False):
            yield [frame.buffer for frame in frames]
