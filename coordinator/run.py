"""A whole run from the coordinator's side, without I/O.

    joining → synchronising → round → reporting → synchronising → … → finished

It does not trust a hospital to be there or to hold what the others hold: that is what synchronising
is for. Hospitals check all of it again for themselves.
"""

from __future__ import annotations

import msgspec

from coordinator.checks import other_file, receiver_of, request_fault
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
    Hello,
    Message,
    Refusal,
    Rejected,
    RoundReport,
    StateAnswer,
    StateRequest,
    Synchronised,
    Welcome,
)
from federation.plan import Plan
from federation.records.events import (
    HospitalDisconnected,
    HospitalJoined,
    HospitalRefused,
    HospitalRejected,
    LateMessage,
    RoundBegun,
    RoundDiscarded,
    RoundFailed,
    RoundReported,
    ScoreShared,
    UnreadableMessage,
)
from federation.records.state import RunProgress
from federation.roster import Roster
from federation.types import HospitalNumber


class Run:
    """A run's state between two messages.

    `receive`, `malformed`, `disconnected`, `tick` and `stop` return effects, which a `Keeper`
    performs in their order.

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

    def receive(self, who: HospitalNumber, message: Message, now: float) -> list[Effect]:
        """Take a decoded message of hospital `who`, its authenticated number."""
        if isinstance(message, Hello):
            return self._hello(who, message, now)
        if self.presence[who].session is None:
            return []  # it has not been let in
        self._heard(who)
        match message:
            case StateRequest() | StateAnswer():
                return self._relay(who, message, now)
            case Synchronised():
                return self._synchronised(who, message, now)
            case RoundReport():
                return self._report(who, message, now)
            case Refusal():
                return self._refusal(who, message, now)
        if self.round is not None and getattr(message, "round", None) == self.round.plan.round:
            return [*self.round.receive(who, message, now), *self._advance(now)]
        return [LateMessage(self.ids[who], type(message).__name__)]

    def malformed(self, who: HospitalNumber, text: str, now: float) -> list[Effect]:
        """Hospital `who` broke the protocol: it is out of the round, and the others go on."""
        self.presence[who].code = Reason.MALFORMED
        effects: list[Effect] = [UnreadableMessage(self.ids[who], text)]
        self.synchroniser.refused(who)
        if self.round is not None:
            effects += self.round.lose(who, Reason.MALFORMED, text, now)
        return [*effects, *self._advance(now)]

    def disconnected(self, who: HospitalNumber, text: str, now: float) -> list[Effect]:
        """The transport has given this hospital up for now. It stays in its round until its
        patience is over, because it may come back.
        """
        return [HospitalDisconnected(self.ids[who], text)]

    def tick(self, now: float) -> list[Effect]:
        """Time has passed."""
        effects: list[Effect] = []
        if self.round is not None:
            effects = self.round.tick(now)
            for who in self.round.silent:
                self.presence.on(Event.SILENT, who)
            self.round.silent.clear()
        return [*effects, *self._advance(now)]

    def buffers_allowed(self, who: HospitalNumber) -> int:
        """Return how many bytes of raw buffers this hospital may send now."""
        upload = self._upload_bytes if self.round is not None and self.round.may_upload(who) else 0
        return max(upload, state_bytes(self.layout) if self.synchroniser.asks(who) else 0)

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

    # ---- joining and synchronising ---------------------------------------------------

    def _hello(self, who: HospitalNumber, message: Hello, now: float) -> list[Effect]:
        one = self.presence[who]
        other = other_file(self.config, self.roster, message)
        if other is not None:
            code, name = other
            one.code, one.session = code, None
            self.presence.on(Event.REJECTED, who)
            text = f"its {name} is not the one that the coordinator has"
            return [
                HospitalRejected(self.ids[who], str(code), text),
                Send(Rejected(code=code), who),
            ]
        if message.run == self.run and message.applied > self.applied:
            return self.malformed(who, "claims a round that has not been", now)
        effects: list[Effect] = []
        if one.session != message.session:
            effects = self._join(who, message, now)
        elif message.run == self.run:
            one.applied = message.applied
        self._heard(who)
        if self.phase == Phase.FINISHED:
            return [*effects, Send(Finish(completed=self.completed), who)]
        welcome = Welcome(run=self.run, rounds=self.config.federation.rounds)
        return [*effects, Send(welcome, who), *self._advance(now)]

    def _join(self, who: HospitalNumber, message: Hello, now: float) -> list[Effect]:
        """A new process of this hospital is there: what the old one said is void."""
        one, effects = self.presence[who], []
        if one.session is None and self.phase == Phase.JOINING:
            self.since = now  # others are on their way too
        if one.session is not None and self.round is not None:
            effects = self.round.lose(who, Reason.LOST, "was restarted", now)
        one.session, one.epoch, one.group_key, one.model = message.session, None, None, None
        one.applied = message.applied if message.run == self.run else 0
        one.code = ""
        self.presence.on(Event.JOINED, who)
        self.synchroniser.came_back(who)
        return [*effects, HospitalJoined(self.ids[who])]

    def _heard(self, who: HospitalNumber) -> None:
        if self.presence.on(Event.HEARD, who):
            self.synchroniser.came_back(who)

    def _relay(
        self, who: HospitalNumber, message: StateRequest | StateAnswer, now: float
    ) -> list[Effect]:
        receiver = receiver_of(who, message, self.roster)
        if receiver is None:
            return [UnreadableMessage(self.ids[who], "asked or answered in another's name")]
        if isinstance(message, StateRequest):
            fault = request_fault(self.run, self.roster, message)
            if fault is not None:
                return self.malformed(who, fault, now)
        if not self.synchroniser.relays(message, now):
            return [LateMessage(self.ids[who], type(message).__name__)]
        return [Send(message, receiver)]

    def _synchronised(self, who: HospitalNumber, message: Synchronised, now: float) -> list[Effect]:
        if message.applied > self.applied:
            return self.malformed(who, "claims a round that has not been", now)
        self.synchroniser.synchronised(who, message)
        return self._advance(now)

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

    def _report(self, who: HospitalNumber, message: RoundReport, now: float) -> list[Effect]:
        """A hospital reports once it has applied a sum, and perhaps again with the score of its
        local test, for which no round waits.
        """
        if message.round > self.applied:
            return self.malformed(who, "reports a round that has not been", now)
        one, effects = self.presence[who], []
        one.applied, one.model, one.code = message.round, message.model, ""
        awaited = message.round == self.applied and self.presence.on(Event.REPORTED, who)
        if awaited or message.clipped is not None:
            one.clipped = message.clipped
        if message.accuracy is not None:
            one.accuracy, one.scored = message.accuracy, message.round
            if not awaited:
                effects = [ScoreShared(self.ids[who], message.round, message.accuracy)]
        return [*effects, *self._advance(now)]

    def _refusal(self, who: HospitalNumber, message: Refusal, now: float) -> list[Effect]:
        """A hospital could not do what it was asked."""
        self.presence[who].code = message.code
        if self.protection.hidden and message.code == Reason.AGGREGATE:
            self._replace_key()
        if self.phase == Phase.REPORTING and message.round == self.applied:
            self.presence.on(Event.REFUSED_SUM, who)
        elif self.phase == Phase.SYNCHRONISING:
            self.synchroniser.refused(who)
        effects: list[Effect] = [HospitalRefused(self.ids[who], message.round, message.code)]
        if self.round is not None and message.round == self.round.plan.round:
            effects += self.round.receive(who, message, now)
        return [*effects, *self._advance(now)]

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
