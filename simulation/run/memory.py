"""The product's keepers in one process: a bus that carries encoded messages, with a virtual clock
and faults on demand.
"""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any, Protocol

from coordinator.keeper import Keeper
from coordinator.run import Run
from federation import codec
from federation.config import FederationConfig
from federation.effects import Applied, Effect, Finished, Note, Send
from federation.errors import MalformedMessage
from federation.layout import Layout
from federation.limits import from_coordinator, from_hospital
from federation.messages import Message, Update
from federation.records.events import Logged
from federation.types import HospitalNumber
from hospital_node.service import REPORT_SHARE
from hospital_node.stopwatch import Stopwatch
from hospital_node.work import Job, Result, Work


class Due(Work, Protocol):
    """Work that waits until the bus comes to it."""

    def due(self) -> list[tuple[float, Job]]:
        """Return what was asked for since the last call, in that order, each with how many seconds
        it takes.
        """


class Hospital(Protocol):
    """What the bus needs of a hospital's `Keeper`."""

    @property
    def work(self) -> Due:
        """Its learner."""

    def hello(self) -> Message: ...

    def receive(self, message: Message) -> list[Message]: ...

    def finished(self, result: Result) -> list[Message]: ...

    def report_untested(self) -> list[Message]: ...


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
    """Plays keepers and one `Run` until the run is over.

    Time is virtual: it jumps to the next thing that happens.
    """

    def __init__(
        self,
        config: FederationConfig,
        layout: Layout,
        run: Run,
        hospitals: Mapping[int, Hospital],
        fault: Fault = honest,
        watch: Callable[[Logged | Applied, Run], None] | None = None,
        tap: Callable[[int, str, list[Any]], None] | None = None,
        keeper: Keeper | None = None,
    ) -> None:
        """`keeper` keeps `run`: it performs the coordinator's effects. Without one nothing is
        written down.
        """
        self.config, self.layout, self.run, self.hospitals = config, layout, run, dict(hospitals)
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
        self._busy: dict[Hospital, float] = {}
        """Until when each hospital's learner has work."""
        self._limits = from_coordinator(config, layout, len(run.ids))

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
        """Let this hospital say that it is there."""
        self._up(who, self.hospitals[who].hello())

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
            self.at(self.now + delay, partial(self._arrive_up, HospitalNumber(who), frames))

    def _arrive_up(self, who: HospitalNumber, frames: list[Any]) -> None:
        if self.tap is not None:
            self.tap(who, "up", frames)
        limits = from_hospital(
            self.config, self.layout, len(self.run.ids), self.run.buffers_allowed(who)
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
            self.at(self.now + delay, partial(self._arrive_down, who, frames))

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
        self._hospital(who, lambda hospital: hospital.receive(message))

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

    def _hospital(self, who: int, act: Callable[[Hospital], list[Message]]) -> None:
        """Let a hospital do one thing: send its answers, and do later what it asks its learner."""
        hospital = self.hospitals[who]
        if who in self.dead:
            return
        for message in act(hospital):
            if who not in self.dead:  # a fault may kill it between two messages
                self._up(who, message)
        for seconds, job in hospital.work.due():
            done = max(self.now, self._busy.get(hospital, 0.0)) + seconds
            self._busy[hospital] = done
            self.at(done, partial(self._work, who, hospital, job))
            if seconds:  # as a service does when a test takes long
                late = self.now + self.config.federation.patience * REPORT_SHARE
                self.at(
                    late, partial(self._hospital, who, lambda hospital: hospital.report_untested())
                )

    def _work(self, who: int, hospital: Hospital, job: Job) -> None:
        if who in self.dead or self.hospitals[who] is not hospital:
            return  # the process that asked for it has ended
        result = job()
        if result is not None:
            self._hospital(who, lambda hospital: hospital.finished(result))
