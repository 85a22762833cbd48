"""One hospital's side of the protocol, without I/O: `receive(message) -> [effects]`. Never believes
what it can compute or check.
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
from federation.layout import Vector
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
from federation.types import RunId
from hospital_node.standing import Memory, Standing
from hospital_node.stopwatch import Stopwatch


@dataclass
class _Training:
    """Between StartRound and the first message of the round."""

    plan: Plan


class Session:
    """`receive`, `trained`, `failed` and `report` return effects, to be performed in their order."""

    def __init__(
        self,
        keys: Secrets,
        config: FederationConfig,
        roster: Roster,
        start: SharedModel,
        shared: SharedModel,
        memory: Memory,
        min_cohort: int = 3,
        random: Callable[[int], bytes] = secrets.token_bytes,
    ) -> None:
        self.keys, self.config, self.roster = keys, config, roster
        self.start, self.memory = start, memory
        self.standing = Standing(keys, config, roster, shared, memory, random)
        self.number = self.standing.number
        self.min_cohort = max(min_cohort, config.federation.min_cohort)
        self.protection = protections.get(config.protection.kind)
        self.session_id = random(16)
        self.current: _Training | State | None = None
        self.survivors: dict[int, frozenset[int]] = {}
        """Of the rounds that this process has signed or applied."""
        self._tried = 0
        """The last round of which a forged aggregate came: the tag is a proof because nobody has a
        second try.
        """
        self.protecting = Stopwatch()
        """Runs while this hospital checks, codes, masks or encrypts."""
        self.clipped: int | None = None
        """Clipped elements of this hospital's last update; None if it made none."""

    @property
    def shared(self) -> SharedModel:
        """The shared model as of the last round that this hospital has applied."""
        return self.standing.shared

    @property
    def group(self) -> GroupKey | None:
        """The key that this hospital holds with the others."""
        return self.standing.group

    # ---- what the service calls ------------------------------------------------------

    def hello(self) -> Hello:
        """To be sent at every (re)connection."""
        return Hello(
            config=self.config.digest,
            roster=self.roster.digest,
            session=self.session_id,
            run=RunId(self.memory.run) or None,
            applied=self.shared.round,
        )

    def receive(self, message: Message) -> list[Effect]:
        """One message of the coordinator, decoded. Never raises for what a peer did: it notes it
        and refuses the round.
        """
        try:
            with self.protecting:
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

    def trained(
        self,
        round_: int,
        update: Vector,
        examples: int,
        steps: int,
        confusion: tuple[int, ...],
        memory: Vector | None = None,
    ) -> list[Effect]:
        """Training is done: the hospital's first message of the round. `update` = local − global,
        float32[d], in `memory` or not.
        """
        if not isinstance(self.current, _Training) or self.current.plan.round != round_:
            return []  # the round was over before the training was
        plan = self.current.plan
        given = Contribution(
            update=update,
            examples=examples,
            steps=steps,
            confusion=confusion if plan.coding.confusion else (),
            clips=self.shared.clips,
            rounding_key=private_randomness(
                self.keys.own_secret, "rounding", self.memory.run, round_
            ),
            memory=memory,
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
            model=self.standing.digest,
            group=self.group,
            random=self.standing.random,
        )
        try:
            with self.protecting:
                plan.coding.check(given)
                self.current, message = self.protection.begin(plan, own)
        except OutOfRange as error:
            return self.failed(round_, str(error), Reason.RANGE)
        except FederationError as error:
            return self.failed(round_, str(error), error.reason)
        return [Send(message)]

    def failed(self, round_: int, text: str, reason: Reason) -> list[Effect]:
        """This hospital cannot take part in the round any more."""
        if self.current is None or self.current.plan.round != round_:
            return []
        self.current = None
        return [
            Note(f"round {round_}: {text}", error=True),
            Discard(round_),
            Send(Refusal(round=round_, code=reason)),
        ]

    def report(self, accuracy: float, share: bool) -> list[Effect]:
        """After `Applied`: tell the coordinator, with the score only where this hospital's policy
        shares it.
        """
        clipped, self.clipped = self.clipped, None
        score = accuracy if share and 0 <= accuracy <= 1 else None
        told = clipped if share else None
        return [
            Send(
                RoundReport(
                    round=self.shared.round, model=self.standing.stand, accuracy=score, clipped=told
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
                return self.standing.synchronise(message)
            case StateRequest():
                return self.standing.grant(message)
            case StateAnswer():
                return self._moved(self.standing.accept(message))
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
        if message.run == self.memory.run:
            return []
        if message.run in self.memory.past_runs:
            raise FaultyCoordinator("leads a run that is over", Reason.REPLAY)
        effects = self._drop()
        if self.memory.run:
            self.memory.past_runs.append(self.memory.run)
        self.memory.run, self.memory.answered, self.memory.least_epoch, self._tried = (
            message.run,
            0,
            0,
            0,
        )
        self.standing.begin(self.start)
        return [*effects, NewRun(message.run)]

    def _moved(self, effects: list[Effect]) -> list[Effect]:
        """With another model than the one it began with, this hospital is out of the round in
        progress.
        """
        return (
            [*self._drop(), *effects]
            if any(isinstance(effect, Applied) for effect in effects)
            else effects
        )

    def _plan(self, round_: int) -> Plan:
        return Plan(
            config=self.config,
            roster=self.roster,
            layout=self.shared.layout,
            run=RunId(self.memory.run),
            round=round_,
            own_minimum=self.min_cohort,
        )

    def _start(self, message: StartRound) -> list[Effect]:
        round_ = message.round
        if (
            round_ <= max(self.memory.answered, self.shared.round)
            or round_ > self.config.federation.rounds
        ):
            raise FaultyCoordinator(
                f"starts round {round_}, which this hospital has answered or which is none",
                Reason.REPLAY,
            )
        if not self.memory.run or self.standing.serves(round_) is None:
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
        self.memory.answered = round_
        self.current = _Training(plan)
        return [*effects, Remember(self.memory.run, round_), Train(round_)]

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
        self.clipped = getattr(self.current, "clipped", self.clipped)
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
        group = self.standing.serves(round_)
        if group is None:
            raise FaultyCoordinator(
                "sent an aggregate under a group key that this hospital does not hold",
                Reason.CONTEXT,
            )
        plan = self._plan(round_)
        binding = self.protection.bind(self.standing.digest, group)
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
        self.current = None
        return [
            *effects,
            *self._differences(round_, frozenset(message.survivors)),
            Applied(round_, counted, total),
        ]

    def _differences(self, round_: int, survivors: frozenset[int]) -> list[Effect]:
        """Tell the operator where this sum and an earlier one differ by fewer hospitals than the
        minimum; once for each set.

        Asked as soon as a set is to be signed: a coordinator may unmask a sum and never send it.
        """
        pair = (
            None
            if survivors in self.survivors.values()
            else closest(self.survivors, survivors, self.min_cohort)
        )
        self.survivors[round_] = survivors
        if pair is None:
            return []
        names = ", ".join(self.roster.id_of(who) for who in sorted(pair[1]))
        text = (
            f"the survivors of round {round_} and round {pair[0]} differ only by {names}: so do the"
            " sums, for all who see them"
        )
        return [Note(text, error=True)]

    def _give_up_key(self, message: Aggregate, error: FaultyCoordinator) -> list[Effect]:
        """That a sum with a chosen offset was refused tells a bit about the noise in it. No key
        pays for two: the next one must be new.
        """
        self.standing.give_up_key()
        return [
            Remember(self.memory.run, self.memory.answered),
            *self._refuse(message, error, str(error)),
        ]

    def _abort(self, message: AbortRound) -> list[Effect]:
        if self.current is None or self.current.plan.round != message.round:
            return []
        return [
            *self._drop(),
            Note(f"round {message.round} was aborted: {_ADVICE.get(message.code, message.code)}"),
        ]

    # ---- leaving a round -------------------------------------------------------------

    def _drop(self) -> list[Effect]:
        """Forget the round in progress, with every secret of it; its private-layer changes are
        discarded.
        """
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


_ADVICE: dict[str, str] = {
    Reason.VERSION: (
        "it speaks another protocol version; install the same release as the coordinator"
    ),
    Reason.CONFIG: "its federation.toml is another one; copy the coordinator's again",
    Reason.ROSTER: (
        "its roster.toml is another one; copy the coordinator's again and accept its fingerprint"
    ),
    Reason.THRESHOLD: "too few hospitals were left",
    Reason.CONTEXT: "hospitals stood at different models or group keys",
    Reason.RANGE: "the sum was outside of what the hospitals could have sent",
    Reason.SHARE: "a hospital dealt wrong shares",
}
