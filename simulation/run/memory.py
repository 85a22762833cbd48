"""The same sessions in one process: a bus that carries encoded messages, with a virtual clock and
faults on demand.
"""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable, Iterable
from typing import Any, Protocol

from coordinator.keeper import Keeper
from coordinator.run import Run
from federation import codec
from federation.config import FederationConfig
from federation.effects import (
    Applied,
    Discard,
    Effect,
    Finished,
    NewRun,
    Note,
    Remember,
    Send,
    Train,
)
from federation.errors import MalformedMessage
from federation.layout import Layout
from federation.limits import from_coordinator, from_hospital
from federation.messages import Message, Update
from federation.records.events import Logged
from hospital_node.session import Session
from hospital_node.stopwatch import Stopwatch


class Body(Protocol):
    """What trains for a session: a learner, or a test's stand-in."""

    def reset(self, session: Session) -> None: ...

    def train(self, session: Session, round_: int) -> list[Effect]: ...

    def discard(self) -> None: ...

    def applied(self, session: Session, effect: Applied) -> list[Effect]: ...


Fault = Callable[[int, str, Message, float], Iterable[tuple[float, Message]]]
"""(hospital, "up" or "down", message, time) → what arrives, each with its delay in seconds.
Nothing: it is lost.
"""


def honest(
    who: int, direction: str, message: Message, now: float
) -> Iterable[tuple[float, Message]]:
    """Every message arrives at once."""
    return ((0.0, message),)


class MemoryFederation:
    """Runs sessions and one `Run` until it has finished. Time is virtual: it jumps to the next
    thing that happens.
    """

    def __init__(
        self,
        config: FederationConfig,
        layout: Layout,
        run: Run,
        hospitals: dict[int, tuple[Session, Body]],
        fault: Fault = honest,
        watch: Callable[[Logged | Applied, Run], None] | None = None,
        tap: Callable[[int, str, list[Any]], None] | None = None,
        keeper: Keeper | None = None,
    ) -> None:
        """`keeper` keeps `run`: it performs the coordinator's effects. Without one nothing is
        written down.
        """
        self.config, self.layout, self.run, self.hospitals = config, layout, run, hospitals
        self.fault, self.watch, self.tap, self.keeper = fault, watch, tap, keeper
        self.now = 0.0
        self.aggregating = Stopwatch()
        """Runs while the coordinator takes what hospitals send."""
        self.events: list[Logged] = []
        self.notes: list[tuple[int, Note]] = []
        self.finished: Finished | None = None
        self.dead: set[int] = set()
        self._queue: list[tuple[float, int, Callable[[], None]]] = []
        self._order = itertools.count()
        self._limits = from_coordinator(config, layout, len(run.peers))

    def play(self, until: float = 1e9) -> None:
        """From hello to the end, or to a virtual time."""
        for who in sorted(self.hospitals):
            self.connect(who)
        while self.finished is None and self.now <= until:
            if not self._queue:
                self._tick()
            if not self._queue:
                self.now += self.config.federation.patience / 4
                # as a hospital does after a silence
                for who in sorted(set(self.hospitals) - self.dead):
                    self.connect(who)
                continue
            at, _, act = heapq.heappop(self._queue)
            if at > self.now:
                self.now = at
                self._tick()
            act()
        while self._queue and self.finished is not None:  # let everybody hear of the end
            heapq.heappop(self._queue)[2]()

    def connect(self, who: int) -> None:
        self._up(who, self.hospitals[who][0].hello())

    def kill(self, who: int) -> None:
        """This hospital's process is gone; what it has sent still arrives."""
        self.dead.add(who)

    def at(self, time: float, act: Callable[[], None]) -> None:
        heapq.heappush(self._queue, (time, next(self._order), act))

    # ---- carrying --------------------------------------------------------------------

    def _tick(self) -> None:
        self._coordinator(self.run.tick(self.now))

    def _up(self, who: int, message: Message) -> None:
        for delay, arriving in self.fault(who, "up", message, self.now):
            frames = codec.encode(arriving)
            self.at(self.now + delay, lambda frames=frames: self._arrive_up(who, frames))

    def _arrive_up(self, who: int, frames: list[Any]) -> None:
        if self.tap is not None:
            self.tap(who, "up", frames)
        limits = from_hospital(
            self.config, self.layout, len(self.run.peers), self.run.buffers_allowed(who)
        )
        try:
            message = codec.decode(frames, limits)
        except MalformedMessage as error:
            self._coordinator(self.run.malformed(who, str(error), self.now))
            return
        if self.keeper is not None and isinstance(message, Update):
            self.keeper.uploaded(who, message, sum(len(frame) for frame in frames))
        with self.aggregating:
            effects = self.run.receive(who, message, self.now)
        self._coordinator(effects)

    def _down(self, who: int, message: Message) -> None:
        for delay, arriving in self.fault(who, "down", message, self.now):
            frames = codec.encode(arriving)
            self.at(self.now + delay, lambda frames=frames: self._arrive_down(who, frames))

    def _arrive_down(self, who: int, frames: list[Any]) -> None:
        if who in self.dead or who not in self.hospitals:
            return
        if self.tap is not None:
            self.tap(who, "down", frames)
        try:
            message = codec.decode(frames, self._limits)
        except MalformedMessage as error:
            self.notes.append((who, Note(str(error), error=True)))
            return
        self._hospital(who, self.hospitals[who][0].receive(message))

    # ---- performing ------------------------------------------------------------------

    def _coordinator(self, effects: list[Effect]) -> None:
        sends = [effect for effect in effects if isinstance(effect, Send)]
        if self.keeper is not None:
            sends = self.keeper.perform(effects)
        for effect in effects:
            if isinstance(effect, Logged):
                self.events.append(effect)
            if isinstance(effect, Logged | Applied) and self.watch is not None:
                self.watch(effect, self.run)
            if isinstance(effect, Finished):
                self.finished = effect
        for send in sends:
            if send.to is not None:
                self._down(send.to, send.message)

    def _hospital(self, who: int, effects: list[Effect]) -> None:
        session, body = self.hospitals[who]
        for effect in effects:
            if who in self.dead:
                return
            match effect:
                case Send(message=message):
                    self._up(who, message)
                case Train(round=round_):
                    self.at(self.now, lambda round_=round_: self._train(who, round_))
                case Discard():
                    body.discard()
                case NewRun():
                    body.reset(session)
                case Applied():
                    self._hospital(who, body.applied(session, effect))
                case Note():
                    self.notes.append((who, effect))
                case Remember() | Finished():
                    pass

    def _train(self, who: int, round_: int) -> None:
        if who not in self.dead:
            session, body = self.hospitals[who]
            self._hospital(who, body.train(session, round_))
