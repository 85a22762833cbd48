"""One round from the coordinator's side, without I/O: gather what each phase needs, close it, go
on; whoever is lost is lost.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from federation.coding import Sum
from federation.effects import Effect, Send
from federation.errors import FaultyHospital, Reason, RoundAborted
from federation.messages import AbortRound, Aggregate, Grant, Message, Progress, Refusal, StartRound
from federation.plan import Plan
from federation.protections.base import Protection
from federation.protections.gathering import AnyGathering, Outcome
from federation.records.events import (
    HospitalAtFault,
    HospitalLost,
    LateMessage,
    PhaseClosed,
    RoundBegun,
    RoundFailed,
)
from federation.types import HospitalNumber

UPLOADS_AT_ONCE = 2
"""So that memory does not grow with the cohort. Unquantised sums take one at a time: their order
decides their last bits.
"""

SLOWEST_LINK = 50_000.0
"""Bytes per second: an upload may take `patience` and its size at this rate."""


class Round:
    """`start`, `receive`, `lose` and `tick` return effects; `over` tells when it has ended,
    `outcome` how (None: aborted).
    """

    def __init__(
        self,
        plan: Plan,
        protection: Protection,
        ids: Sequence[str],
        *,
        patience: float,
        upload_bytes: int,
    ) -> None:
        """`ids` are the hospitals' names by number, for events."""
        self.plan, self.ids = plan, ids
        self.state: AnyGathering = protection.open_round(plan)
        self.patience, self.upload_bytes = patience, upload_bytes
        self.heard: dict[HospitalNumber, float] = {}
        self.granted: set[HospitalNumber] = set()
        self.gone: dict[HospitalNumber, str] = {}
        """Hospitals that are out of this round, with the reason code."""
        self.silent: list[HospitalNumber] = []
        """Those lost at the last tick because nothing was heard of them."""
        self.progress: dict[HospitalNumber, float] = {}
        """Share of the training that each has done, 0 to 1."""
        self.outcome: Outcome | None = None
        self.code = ""
        self.over = False
        self._faults_told = 0

    # ---- what the run calls ----------------------------------------------------------

    def start(self, reachable: frozenset[HospitalNumber], now: float) -> list[Effect]:
        """Ask the cohort to train. Who is not reachable is a dropout from the beginning."""
        effects: list[Effect] = [RoundBegun(self.plan.round, self._named(self.plan.cohort))]
        self.heard = dict.fromkeys(self.plan.cohort, now)
        for who in self.plan.cohort:
            if who in reachable:
                effects.append(
                    Send(StartRound(round=self.plan.round, cohort=self.plan.cohort), who)
                )
            else:
                effects += self._lose(who, Reason.LOST, "is not connected")
        return [*effects, *self._advance(now)]

    def receive(self, who: HospitalNumber, message: Message, now: float) -> list[Effect]:
        """A message of hospital `who` (its authenticated number) that names this round."""
        if self.over or who in self.gone or who not in self.plan.cohort:
            return [LateMessage(self.ids[who], type(message).__name__)]
        if isinstance(message, Progress):
            share = message.percent / 100
            if share > self.progress.get(who, 0.0):  # a deadline on progress, not on signs of life
                self.progress[who], self.heard[who] = min(share, 1.0), now
            return []
        if isinstance(message, Refusal):
            return [
                *self._lose(who, message.code, "refused the round"),
                *self._advance(now),
            ]
        effects: list[Effect] = []
        try:
            self._accept(who, message)
        except FaultyHospital as error:
            effects = self._lose(who, error.reason, error.what)
        else:
            self.heard[who] = now
        return [*effects, *self._advance(now)]

    def lose(self, who: HospitalNumber, code: str, text: str, now: float) -> list[Effect]:
        """Hospital `who` is gone: its process was restarted, its connection is lost."""
        if self.over or who in self.gone or who not in self.plan.cohort:
            return []
        return [*self._lose(who, code, text), *self._advance(now)]

    def tick(self, now: float) -> list[Effect]:
        """Lose who has made no progress for longer than `patience`."""
        if self.over:
            return []
        effects: list[Effect] = []
        for who in self._waiting():
            if now - self.heard[who] > self._deadline(who):
                self.silent.append(who)
                effects += self._lose(
                    who, Reason.LOST, f"made no progress for {self.patience:.0f} s"
                )
        return [*effects, *self._advance(now)]

    def may_upload(self, who: HospitalNumber) -> bool:
        """Whether a large message of this hospital is awaited now."""
        return (
            not self.over
            and self.state.granted
            and who in self.granted
            and who not in self.state.received
        )

    # ---- inside ----------------------------------------------------------------------

    def _accept(self, who: HospitalNumber, message: Message) -> None:
        state = self.state
        if (
            not isinstance(message, state.expects)
            or who not in state.awaited
            or who in state.received
        ):
            raise FaultyHospital(
                who, f"sent {type(message).__name__} in the phase {state.phase}", Reason.UNEXPECTED
            )
        if state.granted and who not in self.granted:
            raise FaultyHospital(who, "uploaded before it was its turn", Reason.UNEXPECTED)
        state.accept(who, message)

    def _waiting(self) -> list[HospitalNumber]:
        """Whose message is awaited now: of granted uploads only those in flight."""
        missing = [
            who
            for who in self.state.awaited
            if who not in self.state.received and who not in self.gone
        ]
        return [who for who in missing if who in self.granted] if self.state.granted else missing

    def _deadline(self, who: HospitalNumber) -> float:
        return self.patience + (self.upload_bytes / SLOWEST_LINK if self.state.granted else 0.0)

    def _lose(self, who: HospitalNumber, code: str, text: str) -> list[Effect]:
        self.gone[who] = code
        return [HospitalLost(self.ids[who], self.state.phase, str(code), text)]

    def _advance(self, now: float) -> list[Effect]:
        """Close phases while they are complete."""
        effects: list[Effect] = []
        while not self.over:
            effects += self._grant(now)
            if self._missing():
                break
            effects += self._close(now)
        return effects

    def _missing(self) -> bool:
        return any(
            who not in self.state.received and who not in self.gone for who in self.state.awaited
        )

    def _grant(self, now: float) -> list[Effect]:
        if not self.state.granted:
            return []
        at_once = UPLOADS_AT_ONCE if self.plan.coding.bits else 1
        effects: list[Effect] = []
        for who in self.state.awaited:
            if len(self._waiting()) >= at_once:
                break
            if who not in self.granted and who not in self.gone:
                self.granted.add(who)
                self.heard[who] = now
                effects.append(Send(Grant(round=self.plan.round), who))
        return effects

    def _close(self, now: float) -> list[Effect]:
        phase = self.state.phase
        try:
            following, messages = self.state.close()
        except RoundAborted as aborted:
            return [*self._faults(), *self._abort(aborted)]
        effects: list[Effect] = self._faults()
        if isinstance(following, Outcome):
            self.outcome, self.over = following, True
            return [
                *effects,
                PhaseClosed(phase, self._named(self.state.present), "aggregate"),
            ]
        for who in self.plan.cohort:
            if who not in following.awaited and who not in self.gone:
                effects += self._lose(who, Reason.LOST, f"is out after {phase}")
        self.state = following
        effects.append(PhaseClosed(phase, self._named(following.awaited), following.phase))
        self.heard.update(dict.fromkeys(following.awaited, now))
        return effects + _sends(messages, self.gone)

    def _faults(self) -> list[Effect]:
        fresh = self.state.faults[self._faults_told :]
        self._faults_told = len(self.state.faults)
        effects: list[Effect] = []
        for fault in fresh:
            effects.append(HospitalAtFault(self.ids[fault.who], str(fault.reason), fault.what))
            self.gone.setdefault(HospitalNumber(fault.who), fault.reason)
        return effects

    def _abort(self, aborted: RoundAborted) -> list[Effect]:
        self.over, self.code = True, aborted.reason
        effects: list[Effect] = [RoundFailed(self.plan.round, str(aborted.reason), str(aborted))]
        message = AbortRound(round=self.plan.round, code=aborted.reason)
        return effects + [Send(message, who) for who in self.plan.cohort]

    def _named(self, hospitals: Iterable[HospitalNumber]) -> tuple[str, ...]:
        return tuple(self.ids[who] for who in hospitals)

    @property
    def aggregate(self) -> Aggregate | None:
        return self.outcome.aggregate if self.outcome else None

    @property
    def total(self) -> Sum | None:
        return self.outcome.total if self.outcome else None


def _sends(
    messages: Mapping[HospitalNumber, Message], gone: Mapping[HospitalNumber, str]
) -> list[Effect]:
    return [Send(message, who) for who, message in sorted(messages.items()) if who not in gone]
