"""A whole run from the coordinator's side, without I/O: what hospitals say, and what it leads to.

Phases, synchronising and rounds are in `course.py`.
"""

from __future__ import annotations

from coordinator.checks import other_file, receiver_of, request_fault
from coordinator.course import Course
from coordinator.phases import Phase
from coordinator.presence import Event
from federation.effects import Effect, Send
from federation.errors import Reason
from federation.limits import state_bytes
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
from federation.records.events import (
    HospitalDisconnected,
    HospitalJoined,
    HospitalRefused,
    HospitalRejected,
    LateMessage,
    ScoreShared,
    UnreadableMessage,
)
from federation.types import HospitalNumber


class Run(Course):
    """A run's state between two messages.

    `receive`, `malformed`, `disconnected`, `tick` and `stop` return effects, which a `Keeper`
    performs in their order.
    """

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

    def buffers_allowed(self, who: HospitalNumber) -> int:
        """Return how many bytes of raw buffers this hospital may send now."""
        upload = self._upload_bytes if self.round is not None and self.round.may_upload(who) else 0
        return max(upload, state_bytes(self.layout) if self.synchroniser.asks(who) else 0)

    # ---- between rounds --------------------------------------------------------------

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

    # ---- after a round ---------------------------------------------------------------

    def _report(self, who: HospitalNumber, message: RoundReport, now: float) -> list[Effect]:
        """A hospital reports once it has applied a sum, and perhaps again with the score of its
        local test, for which no round waits.
        """
        if message.round > self.applied:
            return self.malformed(who, "reports a round that has not been", now)
        one, effects = self.presence[who], []
        one.code = ""
        if message.round >= one.applied:  # else it is the late score of a round before
            one.applied, one.model = message.round, message.model
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
