"""The coordinator as a process: moves messages between its link and its keeper, and tells the time.
Never loads torch.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Protocol

from coordinator.keeper import Keeper
from federation import codec
from federation.effects import Effect
from federation.errors import MalformedMessage, Reason
from federation.limits import from_hospital
from federation.messages import Message, Rejected, Update
from federation.records.state import Status
from federation.transport.events import Denied, Disconnected, Received, Violation
from federation.types import HospitalNumber

POLL_S = 0.1
STATUS_S = 0.25
GOODBYE_S = 5.0
OVERHEAD = 65_536
"""Bytes of an unfinished message besides its limits: frames and headers."""

Watch = Callable[[Status], None]


class Link(Protocol):
    """What the service needs of a `CoordinatorLink`; peers are CURVE public keys."""

    address: str

    def poll(self, seconds: float, /) -> Iterable[object]: ...

    def send(self, peer: bytes, frames: Sequence[Any], /) -> object: ...

    def close(self, goodbye: float, /) -> None: ...


def message_limits(keeper: Keeper, who: HospitalNumber | None) -> codec.Limits:
    """Return how large a message of this hospital may be now; None is a peer of no number."""
    allowed = 0 if who is None else keeper.run.buffers_allowed(who)
    return from_hospital(keeper.config, keeper.start.layout, len(keeper.roster), allowed)


class Coordinator:
    """Serves one run. The run directory is valid at every moment; a later start goes on from it."""

    def __init__(
        self, keeper: Keeper, link: Link, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Serve the run of `keeper` over `link`; `clock` gives seconds."""
        self.keeper, self.run, self.roster = keeper, keeper.run, keeper.roster
        self.link, self.clock = link, clock
        self.began = clock()
        self.aggregate_seconds = 0.0
        self.stopping = False
        self._status_at = self.began

    def serve(self, watch: Watch | None = None) -> int:
        """Serve until the run is over or `stop` was called.

        Args:
            watch: Is given a snapshot a few times a second.

        Returns:
            The process's exit code, 0.
        """
        tell = self.keeper.tell
        tell(f"The coordinator listens at {self.link.address}.")
        tell(
            f"The roster's fingerprint is {self.roster.fingerprint}; compare it with the hospitals."
        )
        try:
            while self.keeper.finished is None:
                self.step()
                self._show(watch)
        finally:
            self._status_at = 0.0
            self._show(watch)
            seconds = self.clock() - self.began
            summary = self.keeper.summary(seconds, self.aggregate_seconds)
            self.keeper.store.write_summary(summary)
            self.link.close(GOODBYE_S)
        return 0

    def step(self) -> None:
        """Take what has come, let time pass, send what follows."""
        for event in self.link.poll(POLL_S):
            self._event(event)
        now = self.clock()
        self._perform(self.run.tick(now))
        if self.stopping and self.keeper.finished is None:
            self._perform(self.run.stop(Reason.STOPPED, now))

    def stop(self) -> None:
        """End the run, from a signal handler or another thread. The second call ends the process at
        once.
        """
        if self.stopping:
            os._exit(130)
        self.stopping = True

    def _show(self, watch: Watch | None) -> None:
        now = self.clock()
        if now < self._status_at:
            return
        self._status_at = now + STATUS_S
        shot = self.keeper.snapshot(now - self.began)
        self.keeper.store.write_status(shot)
        if watch is not None:
            watch(shot)

    def _event(self, event: object) -> None:
        now = self.clock()
        match event:
            case Denied(peer=by, reason=reason):
                self.keeper.refused(by if isinstance(by, str) else by.hex(), reason)
            case Received(peer=peer) | Disconnected(peer=peer) | Violation(peer=peer):
                who = self.roster.number_of(peer)
                if who is not None:
                    self._of_hospital(who, event, now)

    def _of_hospital(
        self, who: HospitalNumber, event: Received | Disconnected | Violation, now: float
    ) -> None:
        match event:
            case Received(frames=frames):
                self._received(who, frames, now)
            case Disconnected(reason=reason):
                self._perform(self.run.disconnected(who, reason, now))
            case Violation(reason=reason):
                self._perform(self.run.malformed(who, reason, now))

    def _received(self, who: HospitalNumber, frames: Sequence[Any], now: float) -> None:
        try:
            message = codec.decode(frames, message_limits(self.keeper, who))
        except MalformedMessage as error:
            if error.reason == Reason.VERSION:
                self._send(Rejected(code=Reason.VERSION), who)
            self._perform(self.run.malformed(who, str(error), now))
            return
        if isinstance(message, Update):
            self.keeper.uploaded(who, message, sum(len(frame) for frame in frames))
        started = self.clock()
        effects = self.run.receive(who, message, now)
        self.aggregate_seconds += self.clock() - started
        self._perform(effects)

    def _perform(self, effects: list[Effect]) -> None:
        for send in self.keeper.perform(effects):
            if send.to is not None:
                self._send(send.message, send.to)

    def _send(self, message: Message, who: HospitalNumber) -> None:
        self.link.send(self.roster.transport_of(who), codec.encode(message))
