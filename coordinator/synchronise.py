"""Before a round: every connected hospital comes to hold one group key and one model.

One hospital makes the key. The others get it, sealed, from a hospital that holds it, and the model
with it if theirs is another one. The coordinator only says who asks whom. It believes the largest
group that says the same. A hospital that serves no other, or does not answer within `patience`, is
left aside until it is heard again.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import NamedTuple

from coordinator.presence import Contact, Event, Presence, Punctuality
from federation.cohort import cohort
from federation.effects import Effect, Send
from federation.messages import StateAnswer, StateRequest, Synchronise, Synchronised
from federation.types import Digest, HospitalNumber, KeyIdentifier


class Goal(NamedTuple):
    """What all are to hold: the group key of `epoch` and the model after round `applied`."""

    epoch: int
    applied: int


@dataclass
class _Question:
    """A hospital was told to ask `source`.

    Attributes:
        since: When it was told, or when the last message of the exchange passed.
        requested: Whether its request has passed and the answer has not.
        requests: How many requests have passed.
    """

    source: HospitalNumber
    since: float
    requested: bool = False
    requests: int = 0


REQUESTS = 2
"""Requests of one hospital to one source that count as progress: for the key, and then for the
model. If more pass, its time runs out.
"""

RETURNS = 3
"""A hospital that came back this often in one phase is not waited for: it may do so for ever."""


class Synchroniser:
    """`step` says whom to tell what; `ready` are the hospitals that have reached the goal, and
    `waiting` tells whether more may.
    """

    def __init__(self, presence: Presence, patience: float, transfer: float) -> None:
        """Nothing is to be reached yet.

        Args:
            patience: Seconds to wait for an answer.
            transfer: Seconds besides that one sealed state takes to pass a slow line.
        """
        self.presence, self.patience, self.transfer = presence, patience, transfer
        self._owed: Counter[tuple[HospitalNumber, HospitalNumber]] = Counter()
        """(asker, source): sealed states that may still come, whatever became of the asker."""
        self.begin(Goal(0, 0))

    def begin(self, goal: Goal) -> None:
        """Start afresh: nothing has been asked, and no hospital has failed."""
        self.goal = goal
        self.maker: HospitalNumber | None = None
        self._maker_since = 0.0
        self._passed_over: set[HospitalNumber] = set()
        self._failed: dict[HospitalNumber, set[HospitalNumber]] = {}
        """The sources that did not serve a hospital."""
        self._returned: Counter[HospitalNumber] = Counter()
        self._ask_again()

    # ---- what hospitals say ----------------------------------------------------------

    def synchronised(self, who: HospitalNumber, message: Synchronised) -> None:
        """Hospital `who` says what it holds. It counts only if it was asked for, so that no
        hospital puts a key or a model forward by itself.
        """
        if self.presence.on(Event.SYNCHRONISED, who) or who == self.maker:
            one = self.presence[who]
            one.epoch, one.applied = message.epoch, message.applied
            one.group_key, one.model = message.group_key, message.model

    def relays(self, message: StateRequest | StateAnswer, now: float) -> bool:
        """Return whether to relay. A request passes only if this hospital was told to ask that
        source, an answer only while the hospital waits for it.
        """
        question, request = self._questions.get(message.asker), isinstance(message, StateRequest)
        pair = message.asker, message.source
        if not request and self._owed[pair]:
            self._owed[pair] -= 1
        if (
            question is None
            or question.source != message.source
            or question.requested == request
            or message.epoch != self.goal.epoch
        ):
            return False
        if request:
            question.requests += 1
            self._owed[pair] += 1
        question.requested = request
        if question.requests <= REQUESTS:
            question.since = now
        return True

    def refused(self, who: HospitalNumber) -> None:
        """Hospital `who` could not do what it was asked: it asks another source, and so do those
        that asked it; another hospital makes the key.
        """
        if who == self.maker and self.presence[who].contact != Contact.ANSWERED:
            self._pass_over(who)
        for asker, question in list(self._questions.items()):
            if asker == who or (question.source == who and question.requested):
                del self._questions[asker]
                self.presence.on(Event.FAILED, asker)
                self._failed.setdefault(asker, set()).add(question.source)

    def came_back(self, who: HospitalNumber) -> None:
        """Hospital `who` was restarted or is heard again: it is told again, and those that asked it
        ask another source.
        """
        self._returned[who] += 1
        for asker, question in list(self._questions.items()):
            if who in (asker, question.source):
                del self._questions[asker]
                if self.presence[asker].contact == Contact.ASKED:
                    self.presence.on(Event.FREED, asker)

    # ---- what follows ----------------------------------------------------------------

    @property
    def ready(self) -> list[HospitalNumber]:
        """The largest group with one key of this epoch and one model of this round; of two that are
        as large, the one that made the key.
        """
        groups: dict[tuple[KeyIdentifier | None, Digest | None], list[HospitalNumber]] = {}
        for who in sorted(self.presence.reachable()):
            one = self.presence[who]
            if (one.epoch, one.applied) == self.goal:
                groups.setdefault((one.group_key, one.model), []).append(who)
        return max(
            groups.values(),
            key=lambda group: (len(group), self.maker in group, -group[0]),
            default=[],
        )

    @property
    def waiting(self) -> bool:
        """Whether a hospital was told whom to ask, and is worth waiting for."""
        return any(
            self.presence[who].punctuality != Punctuality.OFTEN_LATE
            and self._returned[who] < RETURNS
            for who in self.presence.which(Contact.ASKED)
        )

    def asks(self, source: HospitalNumber) -> bool:
        """Whether this hospital was asked for its sealed state. It may send it although its asker
        is gone by now.
        """
        return any(count and pair[1] == source for pair, count in self._owed.items())

    def step(self, goal: Goal, now: float) -> list[Effect]:
        """Tell every hospital that lacks the key or the model whom to ask; have a key made if no
        hospital holds one. Another goal than before begins afresh.
        """
        if goal != self.goal:
            self.begin(goal)
        self._leave_late(now)
        holders = self.ready
        if not holders:
            return self._ask_maker(now)
        effects: list[Effect] = []
        for who in self.presence.which(Contact.PRESENT):
            if who in holders:
                continue
            failed = self._failed.get(who, ())
            source = next((holder for holder in holders if holder not in failed), None)
            if source is None:
                self.presence.on(Event.NO_SOURCE, who)
                continue
            self._questions[who] = _Question(source, now)
            self.presence.on(Event.TOLD_TO_ASK, who)
            effects.append(self._tell(who, source, holders[0]))
        return effects

    def doubt(self) -> bool:
        """Give the key up if more hospitals have failed to be served than hold it: the holders are
        to blame, and another hospital makes a new key. Returns whether that is so.
        """
        holders = self.ready
        unserved = [
            who for who in self._failed if self.presence.connected(who) and who not in holders
        ]
        if not holders or len(unserved) <= len(holders):
            return False
        for who in holders:
            self.presence[who].epoch = None
            self._pass_over(who)
        self._ask_again()
        return True

    def _ask_again(self) -> None:
        self._questions: dict[HospitalNumber, _Question] = {}
        for who in self.presence.all():
            self.presence.on(Event.FREED, who)

    def _leave_late(self, now: float) -> None:
        for who in self.presence.which(Contact.ASKED):
            question = self._questions[who]
            queue = sum(other.source == question.source for other in self._questions.values())
            allowed = self.patience + (queue * self.transfer if question.requests else 0.0)
            if now - question.since <= allowed:
                continue
            late = question.source if question.requested else who
            self.presence.on(Event.LATE, late)
            self.presence[late].epoch = None
            if question.requested:
                self._ask_again()
                return

    def _pass_over(self, who: HospitalNumber) -> None:
        self._passed_over.add(who)
        if self.presence[who].contact == Contact.MAKING:
            self.presence.on(Event.FREED, who)
        self.maker = None

    def _ask_maker(self, now: float) -> list[Effect]:
        overdue = now - self._maker_since > self.patience
        if self.maker is not None:
            if self.presence.connected(self.maker) and not overdue:
                return []
            self._pass_over(self.maker)
        able = [
            who
            for who in sorted(self.presence.reachable())
            if self.presence[who].applied == self.goal.applied
        ]
        candidates = [who for who in able if who not in self._passed_over]
        if not candidates:
            if able and overdue:
                self._passed_over.clear()
                self._maker_since = now
            return []
        drawn = cohort(self.goal.epoch, 0, [str(who) for who in candidates], 1)[0]
        self.maker, self._maker_since = candidates[drawn], now
        self.presence.on(Event.TOLD_TO_MAKE, self.maker)
        return [self._tell(self.maker, self.maker, None)]

    def _tell(
        self, who: HospitalNumber, source: HospitalNumber, holder: HospitalNumber | None
    ) -> Effect:
        """Tell `who` to ask `source` for what `holder` holds; to make a key if that is None."""
        example = None if holder is None else self.presence[holder]
        message = Synchronise(
            epoch=self.goal.epoch,
            source=source,
            applied=self.goal.applied,
            group_key=example.group_key if example else None,
            model=example.model if example else None,
        )
        return Send(message, who)
