"""One hospital's side of the protocol, without I/O: `receive(message)` returns effects.

It believes nothing that it can compute or check itself.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from federation import protections
from federation.coding import Contribution
from federation.config import FederationConfig
from federation.differencing import closest
from federation.effects import (
    Adopt,
    Discard,
    Effect,
    Finished,
    NewRun,
    Note,
    Remember,
    Send,
    Train,
)
from federation.errors import (
    CryptoError,
    FaultyCoordinator,
    FaultyHospital,
    FederationError,
    OutOfRange,
    PeerError,
    Reason,
    RoundAborted,
)
from federation.groupkey import GroupKey
from federation.keys import Secrets, private_randomness
from federation.messages import (
    AbortRound,
    Aggregate,
    Delivery,
    Finish,
    Grant,
    Hello,
    KeyList,
    Message,
    Refusal,
    Rejected,
    RoundReport,
    StartRound,
    StateAnswer,
    StateRequest,
    Survivors,
    Synchronise,
    UnmaskRequest,
    Welcome,
)
from federation.model import SharedModel
from federation.plan import Plan
from federation.protections.base import LocalInputs, State, step
from federation.roster import Roster
from federation.types import RunId, SessionId
from hospital_node.durable import Durable
from hospital_node.synchronise import StateSync
from hospital_node.work import Confusion, Trained


@dataclass
class _Training:
    """This hospital trains: the state between StartRound and its first message of the round."""

    plan: Plan


class Session:
    """A hospital's state between two messages.

    `receive`, `trained`, `failed`, `stop` and `report` return effects, which a `Keeper` performs in
    their order.

    Attributes:
        start: The agreed model before round 1.
        durable: What must be on disk before a round is answered; `Remember` asks for it.
        current: The round in progress, None outside of one.
        survivors: Whose updates were in each sum that this process has signed or applied.
    """

    def __init__(
        self,
        keys: Secrets,
        config: FederationConfig,
        roster: Roster,
        start: SharedModel,
        shared: SharedModel,
        durable: Durable,
        min_cohort: int = 3,
        random: Callable[[int], bytes] = secrets.token_bytes,
    ) -> None:
        self.keys, self.config, self.roster = keys, config, roster
        self.start, self.durable = start, durable
        self._state = StateSync(keys, config, roster, shared, durable, random)
        self.number = self._state.number
        self.min_cohort = max(min_cohort, config.federation.min_cohort)
        self.protection = protections.get(config.protection.kind)
        self.session_id = SessionId(random(16))
        self.current: _Training | State | None = None
        self.survivors: dict[int, frozenset[int]] = {}
        self._tried = 0
        """The last round with a forged aggregate: the tag is a proof because nobody has a second
        try.
        """
        self._clipped: int | None = None
        """Clipped elements of this hospital's update in the round in progress."""

    @property
    def shared(self) -> SharedModel:
        """The shared model as of the last round that this hospital has applied."""
        return self._state.shared

    @property
    def group(self) -> GroupKey | None:
        """The key that this hospital holds with the others."""
        return self._state.group

    @property
    def run(self) -> bytes:
        """The current run's id; empty before the first run."""
        return self.durable.run

    @property
    def round(self) -> int | None:
        """The round in progress, None outside of one."""
        return None if self.current is None else self.current.plan.round

    # ---- what the keeper calls -------------------------------------------------------

    def hello(self) -> Hello:
        """Return what is to be sent at every connection."""
        return Hello(
            config=self.config.digest,
            roster=self.roster.digest,
            session=self.session_id,
            run=RunId(self.durable.run) or None,
            applied=self.shared.round,
        )

    def receive(self, message: Message) -> list[Effect]:
        """Take one decoded message of the coordinator.

        Nothing is raised for what a peer did wrong: effects tell the operator and refuse the round.
        """
        try:
            return self._dispatch(message)
        except FaultyHospital as error:
            known = error.who < len(self.roster)
            return self._refuse(
                message, error, f"{self.roster.id_of(error.who)}: {error}" if known else str(error)
            )
        except (PeerError, RoundAborted) as error:
            return self._refuse(message, error, str(error))
        except CryptoError as error:
            return self._refuse(message, FaultyCoordinator(str(error), Reason.RANGE), str(error))

    def trained(self, round_: int, trained: Trained, confusion: Confusion) -> list[Effect]:
        """Send the hospital's first message of a round, for which it has trained.

        Args:
            round_: The round. If it is over by now, there are no effects.
            trained: Overwritten later, when the update is coded in place.
            confusion: Counts (C, C) of the last local test; zeros before the first one.
        """
        if not isinstance(self.current, _Training) or self.current.plan.round != round_:
            return []
        plan, update = self.current.plan, trained.update
        given = Contribution(
            update=update,
            examples=trained.examples,
            steps=trained.steps,
            confusion=tuple(int(n) for n in confusion.flat) if plan.coding.confusion else (),
            clips=self.shared.clips,
            rounding_key=private_randomness(
                self.keys.own_secret, "rounding", self.durable.run, round_
            ),
            memory=trained.memory,
        )
        if update.shape != (plan.coding.values,) or not np.isfinite(update).all():
            return self.failed(
                round_,
                "training gave NaN, infinity or another shape; lower training.lr",
                Reason.TRAINING,
            )
        own = LocalInputs(
            number=self.number,
            signing_key=self.keys.signing_key,
            contribution=given,
            model=self._state.digest,
            group=self.group,
            random=self._state.random,
        )
        try:
            plan.coding.check(given)
            self.current, message = self.protection.begin(plan, own)
        except OutOfRange as error:
            return self.failed(round_, str(error), Reason.RANGE)
        except FederationError as error:
            return self.failed(round_, str(error), error.reason)
        return [Send(message)]

    def failed(self, round_: int, text: str, reason: Reason) -> list[Effect]:
        """Leave a round for this hospital's own `reason`; no effects if it is not in that round."""
        if self.round != round_:
            return []
        self.current = None
        return [
            Note(f"round {round_}: {text}", error=True),
            Discard(round_),
            Send(Refusal(round=round_, code=reason)),
        ]

    def stop(self) -> list[Effect]:
        """Leave the round in progress, if any, because the operator stops this hospital."""
        round_ = self.round
        if round_ is None:
            return []
        return [*self._drop(), Send(Refusal(round=round_, code=Reason.STOPPED))]

    def report(
        self, round_: int, accuracy: float | None = None, clipped: int | None = None
    ) -> list[Effect]:
        """Tell the coordinator which model this hospital has now.

        Args:
            round_: The round that was applied. If the model is another one by now, there are no
                effects.
            accuracy: The local test's, 0 to 1; None if it is not shared.
            clipped: Clipped values of this hospital's update; None if that is not shared.
        """
        if round_ != self.shared.round:
            return []
        return [
            Send(
                RoundReport(
                    round=round_,
                    model=self._state.version,
                    accuracy=accuracy,
                    clipped=clipped,
                )
            )
        ]

    # ---- messages --------------------------------------------------------------------

    def _dispatch(self, message: Message) -> list[Effect]:
        match message:
            case Welcome():
                return self._welcome(message)
            case Rejected():
                return [
                    Note(
                        "the coordinator turned this hospital away:"
                        f" {_ADVICE.get(message.code, message.code)}",
                        error=True,
                    )
                ]
            case Synchronise():
                return self._state.synchronise(message)
            case StateRequest():
                return self._state.grant(message)
            case StateAnswer():
                return self._moved(self._state.accept(message))
            case StartRound():
                return self._start(message)
            case KeyList() | Delivery() | Grant() | Survivors() | UnmaskRequest():
                return self._step(message)
            case Aggregate():
                return self._apply(message)
            case AbortRound():
                return self._abort(message)
            case Finish():
                return [*self._drop(), Finished(message.completed, message.code or "")]
        raise FaultyCoordinator(
            f"sent {type(message).__name__}, which is a hospital's to send", Reason.UNEXPECTED
        )

    def _welcome(self, message: Welcome) -> list[Effect]:
        if message.run == self.durable.run:
            return []
        if message.run in self.durable.past_runs:
            raise FaultyCoordinator("leads a run that is over", Reason.REPLAY)
        effects = self._drop()
        if self.durable.run:
            self.durable.past_runs.append(self.durable.run)
        self.durable.run, self.durable.answered, self.durable.least_epoch, self._tried = (
            message.run,
            0,
            0,
            0,
        )
        self._state.begin(self.start)
        return [*effects, NewRun(message.run)]

    def _moved(self, effects: list[Effect]) -> list[Effect]:
        """Leave the round in progress if the model has changed under it."""
        moved = any(isinstance(effect, Adopt) for effect in effects)
        return [*self._drop(), *effects] if moved else effects

    def _plan(self, round_: int) -> Plan:
        return Plan(
            config=self.config,
            roster=self.roster,
            layout=self.shared.layout,
            run=RunId(self.durable.run),
            round=round_,
            own_minimum=self.min_cohort,
        )

    def _start(self, message: StartRound) -> list[Effect]:
        round_ = message.round
        if (
            round_ <= max(self.durable.answered, self.shared.round)
            or round_ > self.config.federation.rounds
        ):
            raise FaultyCoordinator(
                f"starts round {round_}, which this hospital has answered or which is none",
                Reason.REPLAY,
            )
        if not self.durable.run or self._state.serves(round_) is None:
            raise FaultyCoordinator(
                f"starts round {round_} before its group key is agreed", Reason.UNEXPECTED
            )
        plan = self._plan(round_)
        if message.cohort != plan.cohort or self.number not in plan.cohort:
            raise FaultyCoordinator(
                "names another cohort than the agreed function gives", Reason.COHORT
            )
        if len(plan.cohort) < self.min_cohort:
            raise FaultyCoordinator(
                f"starts a round with {len(plan.cohort)} hospitals; this one asks for"
                f" {self.min_cohort}",
                Reason.POLICY,
            )
        effects = self._drop()
        self.durable.answered = round_
        self.current, self._clipped = _Training(plan), None
        return [*effects, Remember(), Train(self.run, round_, self.shared.vector)]

    def _step(
        self, message: KeyList | Delivery | Grant | Survivors | UnmaskRequest
    ) -> list[Effect]:
        state = self.current
        if state is None or state.plan.round != message.round:
            return [
                Note(
                    f"round {message.round}: {type(message).__name__} came after this hospital had"
                    " left the round"
                )
            ]
        if not isinstance(state, State):
            raise FaultyCoordinator(
                f"sent {type(message).__name__} while this hospital trains", Reason.UNEXPECTED
            )
        self.current, answer = step(self.protection.steps, state, message)
        self._clipped = getattr(self.current, "clipped", self._clipped)
        known = (
            self._differences(message.round, frozenset(message.survivors))
            if isinstance(message, Survivors)
            else []
        )
        return known if answer is None else [*known, Send(answer)]

    def _apply(self, message: Aggregate) -> list[Effect]:
        round_ = message.round
        if round_ <= max(self.shared.round, self._tried):
            raise FaultyCoordinator(
                f"sent an aggregate of round {round_}, which is behind", Reason.REPLAY
            )
        mine = (
            self.current
            if isinstance(self.current, State) and self.current.plan.round == round_
            else None
        )
        signed = getattr(mine, "survivors", None)
        group = self._state.serves(round_)
        if group is None:
            raise FaultyCoordinator(
                "sent an aggregate under a group key that this hospital does not hold",
                Reason.CONTEXT,
            )
        plan = self._plan(round_)
        binding = self.protection.bind(self._state.digest, group)
        try:
            total = self.protection.open_aggregate(plan, binding, group, message, signed)
        except FaultyCoordinator as error:
            if error.reason == Reason.AGGREGATE:
                if self.protection.hidden:
                    return self._give_up_key(message, error)
                self._tried = round_
            raise
        self.shared.apply(total, plan.coding, self.config, round_)
        counted = mine is not None and self.number in message.survivors
        effects = [] if counted else self._drop()
        clipped, self._clipped, self.current = self._clipped, None, None
        return [
            *effects,
            *self._differences(round_, frozenset(message.survivors)),
            Adopt(self.shared, counted, clipped),
        ]

    def _differences(self, round_: int, survivors: frozenset[int]) -> list[Effect]:
        """Warn if this sum and an earlier one differ by fewer hospitals than the minimum.

        Called as soon as a set is to be signed, because a coordinator may unmask a sum and never
        send it. Warns once for each set.
        """
        pair = (
            None
            if survivors in self.survivors.values()
            else closest(self.survivors, survivors, self.min_cohort)
        )
        self.survivors[round_] = survivors
        if pair is None:
            return []
        names = [self.roster.id_of(who) for who in sorted(pair[1])]
        return [Note(_too_close(pair[0], round_, names), error=True)]

    def _give_up_key(self, message: Aggregate, error: FaultyCoordinator) -> list[Effect]:
        """Refuse a sum and the key that it was opened with.

        The refusal of a sum with a chosen offset gives away a bit about the noise in it; no key may
        give away two.
        """
        self._state.give_up_key()
        return [Remember(), *self._refuse(message, error, str(error))]

    def _abort(self, message: AbortRound) -> list[Effect]:
        if self.current is None or self.current.plan.round != message.round:
            return []
        return [
            *self._drop(),
            Note(f"round {message.round} was aborted: {_ADVICE.get(message.code, message.code)}"),
        ]

    # ---- leaving a round -------------------------------------------------------------

    def _drop(self) -> list[Effect]:
        """Forget the round in progress with all its secrets, and discard its private changes."""
        if self.current is None:
            return []
        round_ = self.current.plan.round
        self.current = None
        return [Discard(round_)]

    def _refuse(self, message: Message, error: FederationError, text: str) -> list[Effect]:
        round_ = getattr(message, "round", 0)
        concerned = self.current is not None and self.current.plan.round == round_
        effects = self._drop() if concerned else []
        return [
            *effects,
            Note(f"refused {type(message).__name__}: {text}", error=True),
            Send(Refusal(round=round_, code=error.reason)),
        ]


def _too_close(earlier: int, later: int, names: list[str]) -> str:
    """The warning that two sums differ by the updates of only these hospitals."""
    if len(names) == 1:
        whose, gain = names[0], f"{names[0]}'s update"
    else:
        whose = f"{', '.join(names[:-1])} and {names[-1]}"
        gain = f"the sum of the updates of {whose}"
    return (
        f"WARNING: rounds {earlier} and {later} had the same participants except {whose}. Anyone"
        f" with both sums can subtract them and obtain {gain}."
    )


_ADVICE: dict[str, str] = {
    Reason.VERSION: (
        "it speaks another protocol version; install the same release as the coordinator"
    ),
    Reason.CONFIG: "its federation.toml is another one; copy the coordinator's again",
    Reason.ROSTER: (
        "its roster.toml is another one; copy the coordinator's again and accept its fingerprint"
    ),
    Reason.THRESHOLD: "too few hospitals were left",
    Reason.CONTEXT: "the hospitals held different models or group keys",
    Reason.RANGE: "the sum was outside of what the hospitals could have sent",
    Reason.SHARE: "a hospital dealt wrong shares",
}
