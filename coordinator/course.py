"""What follows from what the hospitals said, and from time: the phases of a run, without I/O.

    joining → synchronising → round → reporting → synchronising → … → finished

The coordinator does not trust a hospital to be there or to hold what the others hold: that is what
synchronising is for. Hospitals check all of it again for themselves.
"""

from __future__ import annotations

import msgspec

from coordinator.phases import PHASES, Cause, Phase
from coordinator.presence import Contact, Event, Presence
from coordinator.round import SLOWEST_LINK, Round
from coordinator.synchronise import Goal, Synchroniser
from federation import protections
from federation.config import FederationConfig
from federation.effects import Applied, Effect, Finished, Send
from federation.errors import Reason
from federation.layout import Layout
from federation.limits import state_bytes, vector_bytes
from federation.messages import (
    Finish,
)
from federation.plan import Plan
from federation.records.events import (
    RoundBegun,
    RoundDiscarded,
    RoundFailed,
    RoundReported,
)
from federation.records.state import RunProgress
from federation.roster import Roster
from federation.types import HospitalNumber


class Course:
    """The phases of a run: what follows from what hospitals said (see `Run`) and from time.

    Attributes:
        progress: Where the run stands; it must be on disk before the effects' messages are sent.
        presence: What is known of each hospital.
        epoch: The group key's: the first round that it serves. A restarted coordinator begins a new
            one.
        round: The round in progress, None outside of the phase of rounds.
        since: When the phase began, or when something last happened that prolongs it.
    """

    def __init__(
        self,
        config: FederationConfig,
        roster: Roster,
        layout: Layout,
        progress: RunProgress,
        now: float = 0.0,
    ) -> None:
        self.config, self.roster, self.layout = config, roster, layout
        self.progress, self.run = progress, progress.run_id
        self.ids = [party.id for party in roster.hospitals]
        self.protection = protections.get(config.protection.kind)
        self.phase = Phase.JOINING
        self.presence = Presence(len(roster))
        self.since = now
        self.round: Round | None = None
        self.epoch = progress.last_begun + 1
        self._before = 0
        """The round of all models before the last aggregate."""
        self._upload_bytes = vector_bytes(config, layout)[0]
        self.synchroniser = Synchroniser(
            self.presence, config.federation.patience, state_bytes(layout) / SLOWEST_LINK
        )

    # ---- what services and simulation call -------------------------------------------

    def tick(self, now: float) -> list[Effect]:
        """Time has passed."""
        effects: list[Effect] = []
        if self.round is not None:
            effects = self.round.tick(now)
            for who in self.round.silent:
                self.presence.on(Event.SILENT, who)
            self.round.silent.clear()
        return [*effects, *self._advance(now)]

    def stop(self, code: str, now: float) -> list[Effect]:
        """End the run now, for the reason `code`."""
        return [] if self.phase == Phase.FINISHED else self._finish(Cause.STOPPED, code, now)

    @property
    def last_begun(self) -> int:
        """The last round that was begun."""
        return self.progress.last_begun

    @property
    def applied(self) -> int:
        """The last round that gave an aggregate, 0 before the first."""
        return self.progress.applied

    @property
    def completed(self) -> int:
        """How many rounds gave an aggregate that was not discarded."""
        return self.progress.completed

    @property
    def reachable(self) -> frozenset[HospitalNumber]:
        """The connected hospitals."""
        return self.presence.reachable()

    @property
    def mean_accuracy(self) -> float | None:
        """Mean of the last scores that connected hospitals shared, None if none did."""
        found = [self.presence[who].accuracy for who in self.reachable]
        scores = [score for score in found if score is not None]
        return sum(scores) / len(scores) if scores else None

    # ---- synchronising ---------------------------------------------------------------

    def _needed(self) -> int:
        """With fewer hospitals than this no round can succeed."""
        return max(self.config.threshold, self.config.federation.min_cohort)

    def _overdue(self, now: float) -> bool:
        """Whether the phase has lasted longer than `patience`."""
        return now - self.since > self.config.federation.patience

    def _gathered(self, now: float) -> bool:
        """Whether all hospitals are connected, or enough are and the others are overdue."""
        count = len(self.reachable)
        return count == len(self.ids) or (count >= self._needed() and self._overdue(now))

    def _synchronise(self, now: float) -> list[Effect]:
        """Bring all connected hospitals to one key and one model; begin the round when all are
        served that can be.
        """
        if self.last_begun + 1 - self.epoch >= self.config.protection.key_rounds:
            self._replace_key()
        effects = self.synchroniser.step(Goal(self.epoch, self.applied), now)
        ready = frozenset(self.synchroniser.ready)
        if self.synchroniser.waiting:
            return effects
        if not ready:
            return [*effects, *self._look_back(now)]
        plan = Plan(
            config=self.config,
            roster=self.roster,
            layout=self.layout,
            run=self.run,
            round=self.last_begun + 1,
        )
        for able in (ready & self.presence.trusted(), ready):
            if len(able & set(plan.cohort)) >= self._needed():
                return [*effects, *self._begin(plan, able, now)]
        if self.synchroniser.doubt():
            self.since = now
        elif len(ready) >= self._needed() and self._overdue(now):
            effects += self._skip(plan, ready, now)
        elif self._overdue(now):
            self._restart_synchronising(now)
        return effects

    def _skip(self, plan: Plan, ready: frozenset[HospitalNumber], now: float) -> list[Effect]:
        """Enough hospitals are there, but not of this round's cohort: the round fails at once."""
        self._mark(last_begun=plan.round)
        self.since = now
        there, needed = len(ready & set(plan.cohort)), self._needed()
        text = f"{there} of its cohort are connected, {needed} are needed"
        return [
            RoundBegun(plan.round, tuple(self.ids[who] for who in plan.cohort)),
            RoundFailed(plan.round, str(Reason.THRESHOLD), text),
        ]

    def _restart_synchronising(self, now: float) -> None:
        """Whoever could not be served before is told again."""
        self.since = now
        self.synchroniser.begin(Goal(self.epoch, self.applied))

    def _look_back(self, now: float) -> list[Effect]:
        """Take the last aggregate back if no reachable hospital has applied it."""
        newest = max(one.applied for one in self.presence.hospitals)
        if newest >= self.applied or not self._gathered(now):
            return []
        return self._take_back(max(newest, 0))

    def _take_back(self, applied: int) -> list[Effect]:
        discarded = self.applied
        self._mark(applied=applied, completed=max(0, self.completed - 1))
        return [RoundDiscarded(discarded)]

    def _replace_key(self) -> None:
        """The next round gets a new key: this one is old, or a hospital has refused a sum that it
        decrypted. At most once a round.
        """
        self.epoch = max(self.epoch, self.last_begun + 1)

    # ---- rounds ----------------------------------------------------------------------

    def _begin(self, plan: Plan, ready: frozenset[HospitalNumber], now: float) -> list[Effect]:
        self._mark(last_begun=plan.round)
        self._to(Cause.READY, now)
        self.round = Round(
            plan,
            self.protection,
            self.ids,
            patience=self.config.federation.patience,
            upload_bytes=self._upload_bytes,
        )
        return self.round.start(ready, now)

    def _end_round(self, ended: Round, now: float) -> list[Effect]:
        self.round = None
        aggregate = ended.aggregate
        if aggregate is None:
            for fault in ended.state.faults:
                if fault.reason == Reason.SHARE:
                    self.presence.on(Event.AT_FAULT, HospitalNumber(fault.who))
            self._to(Cause.ABORTED, now)
            return []
        self._before = self.applied
        self._mark(applied=ended.plan.round, completed=self.completed + 1)
        self._to(Cause.RESULT, now)
        effects: list[Effect] = [Applied(self.applied, ended.total)]
        for who in sorted(self.reachable):
            # the others could not open it: they are synchronised before the next round
            if self.presence[who].epoch == self.epoch:
                self.presence.on(Event.SENT_SUM, who)
                effects.append(Send(aggregate, who))
        return effects

    def _end_reporting(self, now: float) -> list[Effect]:
        silent = self.presence.which(Contact.REPORTING)
        refused = self.presence.which(Contact.REFUSED)
        for who in silent:
            self.presence.on(Event.SILENT, who)
        has = [who for who in self.presence.all() if self.presence[who].applied == self.applied]
        # a silent hospital may have applied it
        if len(refused) > len({*silent, *has}):
            effects = self._take_back(self._before)
        else:
            effects = [RoundReported(self.applied, self._scores())]
        self._to(Cause.REPORTED, now)
        return effects

    def _scores(self) -> dict[str, float]:
        """The scores of the last round that are known, by the hospital's id."""
        return {
            self.ids[who]: one.accuracy
            for who, one in enumerate(self.presence.hospitals)
            if one.accuracy is not None and one.scored == self.applied
        }

    def _scores_awaited(self) -> bool:
        """Whether a hospital that shares its scores still owes that of the last round."""
        return any(
            one.accuracy is not None and one.scored < one.applied == self.applied
            for one in (self.presence[who] for who in self.reachable)
        )

    # ---- from phase to phase ---------------------------------------------------------

    def _mark(self, **changed: int) -> None:
        self.progress = msgspec.structs.replace(self.progress, **changed)

    def _to(self, cause: Cause, now: float) -> None:
        self.phase, self.since = PHASES[self.phase, cause], now
        if self.phase == Phase.SYNCHRONISING:
            self.synchroniser.begin(Goal(self.epoch, self.applied))

    def _finish(self, cause: Cause, code: str, now: float) -> list[Effect]:
        self._to(cause, now)
        self.round = None
        finish = Finish(completed=self.completed, code=code or None)
        sends = [Send(finish, who) for who in sorted(self.reachable)]
        return [*sends, Finished(self.completed, code)]

    def _advance(self, now: float) -> list[Effect]:
        """Go on while nothing is waited for."""
        effects: list[Effect] = []
        while True:
            before = (self.phase, self.round)
            effects += self._move(now)
            if (self.phase, self.round) == before:
                return effects

    def _move(self, now: float) -> list[Effect]:
        match self.phase:
            case Phase.JOINING if self._gathered(now):
                self._to(Cause.GATHERED, now)
            case Phase.SYNCHRONISING if self.last_begun < self.config.federation.rounds:
                return self._synchronise(now)
            case Phase.SYNCHRONISING if not self._scores_awaited() or self._overdue(now):
                return self._finish(Cause.ALL_ROUNDS, "", now)
            case Phase.ROUND if self.round is not None and self.round.over:
                return self._end_round(self.round, now)
            case Phase.REPORTING if not self.presence.which(Contact.REPORTING) or self._overdue(
                now
            ):
                return self._end_reporting(now)
        return []
