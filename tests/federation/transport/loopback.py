"""What the link's tests share: parties on loopback, and a cable that can be cut."""

from __future__ import annotations

import contextlib
import select
import socket
import threading
import time
from collections.abc import Callable

import zmq
from zmq.utils import z85

from federation.transport.link import CoordinatorLink, CurveKeys, Event, HospitalLink, Received

PATIENCE_S = 15  # only a failing test waits for so long
SERVER, ALICE, BOB, EVE = (CurveKeys.generate() for _ in range(4))
MB = 1 << 20


class Party:
    """A link, and all that it has told."""

    def __init__(self, link: CoordinatorLink | HospitalLink) -> None:
        self.link = link
        self.events: list[Event] = []

    def all(self, kind: type) -> list:
        return [event for event in self.events if isinstance(event, kind)]

    @property
    def messages(self) -> list:
        return [event.frames for event in self.all(Received)]


def settle(parties: list[Party], until: Callable[[], object]) -> None:
    """Serve all parties in turn until something has happened."""
    end = time.monotonic() + PATIENCE_S
    while not until():
        assert time.monotonic() < end, [party.events for party in parties]
        for party in parties:
            party.events += party.link.poll(0.005)


def serve_for(parties: list[Party], seconds: float) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        for party in parties:
            party.events += party.link.poll(0.005)


class Stage:
    """Starts links, and closes them at the end."""

    def __init__(self) -> None:
        self.admitted = {ALICE.public, BOB.public}
        self.limits: dict[bytes, int] = {}
        self._open = contextlib.ExitStack()

    def limit(self, peer: bytes) -> int:
        return self.limits.get(peer, 200 * MB)

    def coordinator(self, bind: str = "127.0.0.1:0", **more) -> Party:
        return self._add(
            CoordinatorLink(bind, SERVER, self.admitted.__contains__, self.limit, **more)
        )

    def hospital(
        self, address: str, keys: CurveKeys = ALICE, server: bytes = SERVER.public, **more
    ) -> Party:
        return self._add(HospitalLink(address, keys, server, self.limit, **more))

    def raw(self, address: str, keys: CurveKeys, routing_id: bytes = b"") -> zmq.Socket:
        """What somebody with an admitted key may do with a program of their own."""
        context = zmq.Context()
        peer = context.socket(zmq.DEALER)
        peer.curve_publickey, peer.curve_secretkey = (
            z85.encode(keys.public),
            z85.encode(keys.secret),
        )
        peer.curve_serverkey, peer.linger = z85.encode(SERVER.public), 0
        if routing_id:
            peer.setsockopt(zmq.ROUTING_ID, routing_id)
        peer.connect(address)
        self._open.callback(context.destroy, 0)
        self._open.callback(peer.close, 0)
        return peer

    def _add(self, link: CoordinatorLink | HospitalLink) -> Party:
        self._open.callback(link.close)
        return Party(link)

    def close(self) -> None:
        self._open.close()


class Cable:
    """A TCP relay that can be cut, and that can go dead without a word."""

    def __init__(self, endpoint: str) -> None:
        host, _, port = endpoint.removeprefix("tcp://").rpartition(":")
        self._target, self._listener = (host, int(port)), socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._listener.getsockname()[1]}"
        self.carried, self.dead, self._cut, self._stop = 0, False, False, False
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def cut(self) -> None:
        self._cut = True

    def close(self) -> None:
        self._stop = True
        self._thread.join()

    def _run(self) -> None:
        other: dict[socket.socket, socket.socket] = {}
        while not self._stop:
            if self._cut:
                for end in other:
                    end.close()
                other, self._cut = {}, False
            for ready in select.select(
                [self._listener, *(() if self.dead else other)], [], [], 0.02
            )[0]:
                if ready is self._listener:
                    near, far = ready.accept()[0], socket.create_connection(self._target)
                    other |= {near: far, far: near}
                elif ready in other:
                    try:
                        taken = ready.recv(1 << 16)
                        other[ready].sendall(taken)
                    except OSError:
                        taken = b""
                    self.carried += len(taken)
                    if not taken:
                        for end in (other.pop(ready), ready):
                            other.pop(end, None)
                            end.close()
        for end in (*other, self._listener):
            end.close()


def large(size: int = 5 * MB) -> bytes:
    return bytes(range(251)) * (size // 251 + 1)
