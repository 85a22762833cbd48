"""A hospital's part in the rounds, without I/O: from StartRound to the aggregate.

It computes the plan of every round itself, and leaves a round in which a message contradicts it.
"""

from __future__ import annotations

from dataclasses import dataclass

from federation import protections
from federation.effects import Adopt, Discard, Effect, Note, Remember, Send, Train
from federation.errors import FaultyCoordinator, FederationError, Reason
from federation.messages import (
    AbortRound,
    Aggregate,
    Delivery,
    Grant,
    KeyList,
    Message,
    Refusal,
    StartRound,
    Survivors,
    UnmaskRequest,
)
from federation.plan import Plan
from federation.protections.base import State, step
from federation.types import RunId
from hospital_node import sentences
from hospital_node.contribute import first_message
from hospital_node.sums import SumHistory
from hospital_node.synchronise import StateSync
from hospital_node.work import Confusion, Trained


@dataclass
class Training:
    """This hospital trains: the state between StartRound and its first message of the round."""

    plan: Plan


class Rounds:
    """Takes part in one round after the other, with the model and key that `state` holds.

    Every method that takes a message returns effects, and raises PeerError, RoundAborted or
    CryptoError if the round cannot go on with that message.

    Attributes:
        min_cohort: A round with fewer hospitals, or with fewer survivors, is refused.
        current: The round in progress, None outside of one.
        sums: Whose updates were in each sum that this process has signed or applied.
    """

    def __init__(self, state: StateSync, min_cohort: int) -> None:
        self.state, self.config, self.durable = state, state.config, state.durable
        self.min_cohort = max(min_cohort, self.config.federation.min_cohort)
        self.protection = protections.get(self.config.protection.kind)
        self.current: Training | State | None = None
        self.sums = SumHistory(state.roster)
        self._tried = 0
        """The last round with a forged aggregate. The tag proves a sum only if a forger has one try
        a round.
        """
        self._clipped: int | None = None
        """Clipped elements of this hospital's update in the round in progress."""

    @property
    def number(self) -> int | None:
        """The number of the round in progress, None outside of one."""
        return None if self.current is None else self.current.plan.round

    # ---- the steps of a round, in their order ----------------------------------------

    def start(self, message: StartRound) -> list[Effect]:
        """Begin to train, if the round is a new one and its cohort is the one agreed on."""
        round_ = message.round
        if (
            round_ <= max(self.durable.answered, self.state.shared.round)
            or round_ > self.config.federation.rounds
        ):
            raise FaultyCoordinator(
                f"starts round {round_}, which this hospital has answered or which does not exist",
                Reason.REPLAY,
            )
        if not self.durable.run or self.state.serves(round_) is None:
            raise FaultyCoordinator(
                f"starts round {round_} before its group key is agreed", Reason.UNEXPECTED
            )
        plan = self._plan(round_)
        if message.cohort != plan.cohort or self.state.number not in plan.cohort:
            raise FaultyCoordinator(
                "names another cohort than the agreed function gives", Reason.COHORT
            )
        if len(plan.cohort) < self.min_cohort:
            raise FaultyCoordinator(
                f"starts a round with {len(plan.cohort)} hospitals; this one asks for"
                f" {self.min_cohort}",
                Reason.POLICY,
            )
        effects = self.leave()
        self.durable.answered = round_
        self.current, self._clipped = Training(plan), None
        return [*effects, Remember(), Train(self.durable.run, round_, self.state.shared.vector)]

    def trained(self, round_: int, trained: Trained, confusion: Confusion) -> list[Effect]:
        """Send the hospital's first message of a round, for which it has trained.

        Args:
            round_: The round. If it is over by now, there are no effects.
            trained: Overwritten later, when the update is coded in place.
            confusion: Counts (C, C) of the last local test; zeros before the first one.
        """
        if not isinstance(self.current, Training) or self.current.plan.round != round_:
            return []
        try:
            self.current, message = first_message(
                self.protection, self.current.plan, self.state, trained, confusion
            )
        except FederationError as error:
            return self.failed(round_, str(error), error.reason)
        return [Send(message)]

    def failed(self, round_: int, text: str, reason: Reason) -> list[Effect]:
        """Leave a round for this hospital's own `reason`; no effects if it is not in that round."""
        if self.number != round_:
            return []
        self.current = None
        return [
            Note(f"round {round_}: {text}", error=True),
            Discard(round_),
            Send(Refusal(round=round_, code=reason)),
        ]

    def take(self, message: KeyList | Delivery | Grant | Survivors | UnmaskRequest) -> list[Effect]:
        """Take the protection's next step with a message between training and aggregate."""
        state = self.current
        if state is None or state.plan.round != message.round:
            return [Note(sentences.late(message.round, type(message).__name__))]
        if not isinstance(state, State):
            raise FaultyCoordinator(
                f"sent {type(message).__name__} while this hospital trains", Reason.UNEXPECTED
            )
        self.current, answer = step(self.protection.steps, state, message)
        self._clipped = getattr(self.current, "clipped", self._clipped)
        warning = (
            self.sums.add(message.round, frozenset(message.survivors), self.min_cohort)
            if isinstance(message, Survivors)
            else []
        )
        return [*warning] if answer is None else [*warning, Send(answer)]

    def apply(self, message: Aggregate) -> list[Effect]:
        """Apply a sum to the shared model, if the protection finds it genuine.

        A hospital that was not in the round, or has left it, gets the same aggregate.
        """
        round_ = message.round
        if round_ <= max(self.state.shared.round, self._tried):
            raise FaultyCoordinator(
                f"sent an aggregate of round {round_}, which is behind", Reason.REPLAY
            )
        mine = (
            self.current
            if isinstance(self.current, State) and self.current.plan.round == round_
            else None
        )
        signed = getattr(mine, "survivors", None)
        group = self.state.serves(round_)
        if group is None:
            raise FaultyCoordinator(
                "sent an aggregate under a group key that this hospital does not hold",
                Reason.CONTEXT,
            )
        plan = self._plan(round_)
        binding = self.protection.bind(self.state.digest, group)
        try:
            total = self.protection.open_aggregate(plan, binding, group, message, signed)
        except FaultyCoordinator as error:
            if error.reason == Reason.AGGREGATE:
                if self.protection.hidden:
                    return self._give_up_key(message, error)
                self._tried = round_
            raise
        self.state.shared.apply(total, plan.coding, self.config, round_)
        counted = mine is not None and self.state.number in message.survivors
        effects = [] if counted else self.leave()
        clipped, self._clipped, self.current = self._clipped, None, None
        return [
            *effects,
            *self.sums.add(round_, frozenset(message.survivors), self.min_cohort),
            Adopt(self.state.shared, counted, clipped),
        ]

    def begin_run(self) -> list[Effect]:
        """Leave the round in progress; the next run counts its rounds from 1 again."""
        self._tried = 0
        return self.leave()

    # ---- leaving a round -------------------------------------------------------------

    def stop(self) -> list[Effect]:
        """Leave the round in progress, if any, because the operator stops this hospital."""
        round_ = self.number
        if round_ is None:
            return []
        return [*self.leave(), Send(Refusal(round=round_, code=Reason.STOPPED))]

    def abort(self, message: AbortRound) -> list[Effect]:
        """Leave the round that the coordinator has ended; no effects in any other round."""
        if self.current is None or self.current.plan.round != message.round:
            return []
        return [*self.leave(), Note(sentences.aborted(message.round, message.code))]

    def leave(self) -> list[Effect]:
        """Forget the round in progress with all its secrets, and discard its private changes."""
        if self.current is None:
            return []
        round_ = self.current.plan.round
        self.current = None
        return [Discard(round_)]

    def refuse(self, message: Message, reason: Reason, text: str) -> list[Effect]:
        """Leave the round of `message`, if it has one; tell the operator and the coordinator."""
        round_ = getattr(message, "round", 0)
        concerned = self.current is not None and self.current.plan.round == round_
        effects = self.leave() if concerned else []
        return [
            *effects,
            Note(sentences.refused(type(message).__name__, text), error=True),
            Send(Refusal(round=round_, code=reason)),
        ]

    # ---- how -------------------------------------------------------------------------

    def _plan(self, round_: int) -> Plan:
        return Plan(
            config=self.config,
            roster=self.state.roster,
            layout=self.state.shared.layout,
            run=RunId(self.durable.run),
            round=round_,
            own_minimum=self.min_cohort,
        )

    def _give_up_key(self, message: Aggregate, error: FaultyCoordinator) -> list[Effect]:
        """Refuse a sum and the key that it was opened with.

        The refusal of a sum with a chosen offset gives away a bit about the noise in it; no key may
        give away two.
        """
        self.state.give_up_key()
        return [Remember(), *self.refuse(message, error.reason, str(error))]
