"""The coordinator as a process: performs its run's effects over ZeroMQ and writes down what
happened. Never loads torch.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from coordinator.keeper import Keeper
from coordinator.store import Store
from federation import codec, model
from federation import config as federation_config
from federation import keys as federation_keys
from federation import roster as federation_roster
from federation.effects import Effect
from federation.errors import ConfigError, MalformedMessage, Reason
from federation.limits import from_hospital
from federation.messages import Message, Rejected, Update
from federation.records.state import Status
from federation.transport.link import (
    Connected,
    CoordinatorLink,
    CurveKeys,
    Denied,
    Disconnected,
    Received,
    Violation,
)

Tell = Callable[[str], None]
Tap = Callable[[str, bytes, Sequence[Any]], None]
STATUS_S = 0.25
GOODBYE_S = 5.0


class Coordinator:
    """`serve` returns 0 when the run is over or was stopped; the folder is valid either way, and a
    later start goes on from it.
    """

    def __init__(
        self,
        config_path: Path,
        out: Path,
        secret: Path | None = None,
        bind: str = "",
        record: bool = False,
        run: bytes | None = None,
        tell: Tell = print,
        tap: Tap | None = None,
    ) -> None:
        self.config = federation_config.read(config_path)
        self.roster = federation_roster.read(config_path.parent / "roster.toml")
        if len(self.roster) < self.config.federation.cohort:
            raise ConfigError(
                f"{config_path.parent / 'roster.toml'}: has {len(self.roster)} hospitals,"
                f" federation.cohort asks for {self.config.federation.cohort}; add hospitals with"
                " `flop roster add`"
            )
        secrets = federation_keys.read_secret(
            secret or config_path.parent / f"{self.roster.coordinator.id}.secret"
        )
        if secrets.transport_public != self.roster.coordinator.transport:
            raise ConfigError(
                f"{config_path.parent / 'roster.toml'}: holds another coordinator's keys than this"
                " secret's"
            )
        self.tell, self.began = tell, time.monotonic()
        self.store = Store(out, self.config)
        start = model.read_start(config_path.parent / self.config.model.start, self.config)
        self.layout = start.layout
        self.keeper = Keeper(
            self.config,
            self.roster,
            start,
            self.store,
            self.store.resume(run),
            record=record,
            tell=tell,
            now=self.began,
        )
        self.run = self.keeper.run
        self.link = CoordinatorLink(
            bind or self.roster.coordinator.address,
            CurveKeys(*secrets.transport_pair),
            lambda key: self.roster.number_of(key) is not None,
            self._limit,
            tap,
        )
        self.aggregate_seconds = 0.0
        self.stopping = False
        self._status_at = 0.0

    def _limit(self, peer: bytes) -> int:
        who = self.roster.number_of(peer)
        allowed = 0 if who is None else self.run.buffers_allowed(who)
        return from_hospital(self.config, self.layout, len(self.roster), allowed).total + 65_536

    # ---- the loop --------------------------------------------------------------------

    def serve(self, watch: Callable[[Status], None] | None = None) -> int:
        """Serve until the run is over; `watch` is given a snapshot a few times a second."""
        self.tell(f"listening at {self.link.address}, roster {self.roster.fingerprint}")
        try:
            while self.keeper.finished is None:
                for event in self.link.poll(0.1):
                    self._event(event)
                now = time.monotonic()
                self._perform(self.run.tick(now))
                if self.stopping and self.keeper.finished is None:
                    self.tell("stopping")
                    self._perform(self.run.stop(Reason.STOPPED, now))
                self._show(now, watch)
        finally:
            self._show(time.monotonic() + STATUS_S, watch)
            seconds = time.monotonic() - self.began
            self.store.write_summary(self.keeper.summary(seconds, self.aggregate_seconds))
            self.link.close(GOODBYE_S)
        return 0

    def stop(self) -> None:
        """From a signal handler or another thread: end the run. Asked twice, the process ends at
        once.
        """
        if self.stopping:
            os._exit(130)
        self.stopping = True

    def _show(self, now: float, watch: Callable[[Status], None] | None) -> None:
        if now < self._status_at:
            return
        self._status_at = now + STATUS_S
        shot = self.keeper.snapshot(now - self.began)
        self.store.write_status(shot)
        if watch is not None:
            watch(shot)

    def _event(self, event: object) -> None:
        now = time.monotonic()
        match event:
            case Received(peer=peer, frames=frames):
                who = self.roster.number_of(peer)
                if who is not None:
                    self._received(who, frames, now)
            case Disconnected(peer=peer, reason=reason):
                who = self.roster.number_of(peer)
                if who is not None:
                    self._perform(self.run.disconnected(who, reason, now))
            case Violation(peer=peer, reason=reason):
                who = self.roster.number_of(peer)
                if who is not None:
                    self._perform(self.run.malformed(who, reason, now))
            case Denied(peer=peer, reason=reason):
                self.keeper.refused(peer if isinstance(peer, str) else peer.hex(), reason)
            case Connected():
                pass

    def _received(self, who: int, frames: Sequence[Any], now: float) -> None:
        limits = from_hospital(
            self.config, self.layout, len(self.roster), self.run.buffers_allowed(who)
        )
        try:
            message = codec.decode(frames, limits)
        except MalformedMessage as error:
            if error.reason == Reason.VERSION:
                self._send(Rejected(code=Reason.VERSION), who)
            self._perform(self.run.malformed(who, str(error), now))
            return
        if isinstance(message, Update):
            self.keeper.uploaded(who, message, sum(len(frame) for frame in frames))
        started = time.monotonic()
        effects = self.run.receive(who, message, now)
        self.aggregate_seconds += time.monotonic() - started
        self._perform(effects)

    def _perform(self, effects: list[Effect]) -> None:
        for send in self.keeper.perform(effects):
            if send.to is not None:
                self._send(send.message, send.to)

    def _send(self, message: Message, who: int) -> None:
        self.link.send(self.roster.transport_of(who), codec.encode(message))
