"""One hospital as a process: moves messages between its keeper and the socket, and looks at the
clock.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from types import FrameType
from typing import Protocol

from federation import codec
from federation.errors import PeerError
from federation.messages import Message, Progress
from federation.transport.link import Connected, Denied, Disconnected, Received, Violation
from hospital_node.assemble import Parts, assemble
from hospital_node.keeper import Keeper, Tell
from hospital_node.settings import Hospital
from hospital_node.worker import Worker

POLL_S = 0.2
PROGRESS_S = 1.0
REPORT_SHARE = 0.25
"""Of the coordinator's patience: so long a report waits for the score of the local test."""
HELLO_S = 10.0
"""After so long a silence a hospital says again that it is there: the coordinator may have given it
up while it was slow.
"""


class Link(Protocol):
    """What a node needs of `HospitalLink`."""

    def poll(self, timeout_s: float) -> Iterable[object]:
        """Return what has come, after at most `timeout_s` seconds."""

    def send(self, peer: bytes, frames: Sequence[bytes | memoryview]) -> bool:
        """Queue a message."""

    def close(self, linger_s: float) -> None:
        """Close after at most `linger_s` seconds in which queued messages are still sent."""


class Node:
    """`serve` returns when the run is over or the operator has stopped it; the hospital's folder is
    valid either way.
    """

    def __init__(
        self,
        keeper: Keeper[Worker],
        link: Link,
        coordinator: bytes,
        limits: codec.Limits,
        *,
        address: str = "",
        lock: AbstractContextManager[None] | None = None,
        tell: Tell = print,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Prepare to serve; nothing is sent or read yet.

        Args:
            coordinator: Its transport key, to which everything is sent.
            limits: What a message of the coordinator may hold.
            address: The coordinator's, for the operator.
            lock: Is held while the node serves.
            clock: Seconds since any fixed time.
        """
        self.keeper, self.worker, self.link = keeper, keeper.work, link
        self.coordinator, self.limits, self.address = coordinator, limits, address
        self.lock: AbstractContextManager[None] = lock or nullcontext()
        self.tell, self.clock = tell, clock
        self.stopping = False
        self._told = (0, 0)
        self._testing: tuple[int, float] | None = None
        """The round whose model is tested and not reported yet, and since when."""
        self._test_s = keeper.session.config.federation.patience * REPORT_SHARE
        self._next_progress = 0.0
        self._heard = clock()

    def serve(self) -> int:
        """Serve until the run is over or `stop` was called.

        Returns:
            The exit code: 2 if the coordinator turned this hospital away, else 0.

        Raises:
            ConfigError: If another process works in this hospital's folder, or if a file of the
                operator's turns out to be wrong.
        """
        with self.lock:
            return self._serve()

    def stop(self) -> None:
        """Stop between two batches; a second call ends the process at once.

        For a signal handler or another thread.
        """
        if self.stopping:
            os._exit(130)
        self.stopping = True

    def _serve(self) -> int:
        keeper = self.keeper
        if keeper.storage.finished(keeper.session.run):
            self.tell(
                f"the last run is over, its results are in {keeper.storage.folder}; waiting for the"
                " coordinator to begin another one"
            )
        self.tell(f"{keeper.session.keys.id}: connecting to {self.address}")
        try:
            while not keeper.over:
                self.turn()
        finally:
            self.worker.stop()
            keeper.summarise()
            self.link.close(2.0)
        return 2 if keeper.rejected else 0

    def turn(self) -> None:
        """Take what has come since the last turn, and send what is due."""
        for event in self.link.poll(POLL_S):
            self._event(event)
        while not self.worker.results.empty():
            self._send(self.keeper.finished(self.worker.results.get()))
        self._send_progress()
        self._send_report()
        self._send_hello()
        if self.stopping:
            self._send(self.keeper.stop())
            self.tell("stopped; start it again to go on where it was")

    def _event(self, event: object) -> None:
        match event:
            case Connected():
                self._send([self.keeper.hello()])
            case Received(frames=frames):
                try:
                    message = codec.decode(frames, self.limits)
                except PeerError as error:
                    self.tell(f"refused what the coordinator sent: {error}")
                    return
                self._heard = self.clock()
                self._send(self.keeper.receive(message))
            case Disconnected(reason=reason) | Denied(reason=reason) | Violation(reason=reason):
                if self.keeper.end is None:
                    self.tell(reason)

    def _send(self, messages: list[Message]) -> None:
        for message in messages:
            self.link.send(self.coordinator, codec.encode(message))

    def _send_hello(self) -> None:
        """Say again that this hospital is there if nothing was heard for HELLO_S in a run."""
        now = self.clock()
        if now - self._heard > HELLO_S and self.keeper.session.run and self.keeper.end is None:
            self._heard = now
            self._send([self.keeper.hello()])

    def _send_progress(self) -> None:
        """Say how far the training is, at most every PROGRESS_S, so that nobody waits in vain."""
        now, round_, percent = self.clock(), self.keeper.session.round, self.worker.percent
        if round_ is None or percent is None or now < self._next_progress:
            return
        if (round_, percent) != self._told:
            self._told, self._next_progress = (round_, percent), now + PROGRESS_S
            self._send([Progress(round=round_, percent=percent)])

    def _send_report(self) -> None:
        """Report a new model without its score if the test takes long: the coordinator waits."""
        round_ = self.keeper.unreported
        if round_ is None or self._testing is None or self._testing[0] != round_:
            self._testing = None if round_ is None else (round_, self.clock())
        elif self.clock() - self._testing[1] > self._test_s:
            self._send(self.keeper.report_untested())


def node(parts: Parts, tell: Tell = print) -> Node:
    """Return the node of a hospital whose parts were made by `assemble`."""
    hospital = parts.hospital
    return Node(
        parts.keeper,
        parts.link,
        hospital.roster.coordinator.transport_key,
        parts.limits,
        address=hospital.address,
        lock=parts.keeper.storage.locked(),
        tell=tell,
    )


def serve(hospital: Hospital, tell: Tell = print) -> int:
    """Run a hospital until its run is over; return its exit code. Raises ConfigError."""
    served = node(assemble(hospital, tell), tell)

    def stop(number: int, frame: FrameType | None) -> None:
        served.stop()

    for name in (signal.SIGINT, signal.SIGTERM):
        signal.signal(name, stop)
    return served.serve()
