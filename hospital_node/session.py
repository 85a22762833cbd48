"""One hospital's side of the protocol, without I/O: `receive(message)` returns effects.

It believes nothing that it can compute or check itself.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable

from federation.config import FederationConfig
from federation.effects import Adopt, Effect, Finished, NewRun, Note, Send
from federation.errors import (
    CryptoError,
    FaultyCoordinator,
    FaultyHospital,
    PeerError,
    Reason,
    RoundAborted,
)
from federation.groupkey import GroupKey
from federation.keys import Secrets
from federation.messages import (
    AbortRound,
    Aggregate,
    Delivery,
    Finish,
    Grant,
    Hello,
    KeyList,
    Message,
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
from federation.roster import Roster
from federation.types import RunId, SessionId
from hospital_node import sentences
from hospital_node.durable import Durable
from hospital_node.rounds import Rounds
from hospital_node.synchronise import StateSync
from hospital_node.work import Confusion, Trained


class Session:
    """A hospital's state between two messages.

    `receive`, `trained`, `failed`, `stop` and `report` return effects, which a `Keeper` performs in
    their order.

    Attributes:
        start: The agreed model before round 1.
        durable: What must be on disk before a round is answered; `Remember` asks for it.
        state: The shared model and the group key.
        rounds: The hospital's part in the rounds.
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
        self.state = StateSync(keys, config, roster, shared, durable, random)
        self.number = self.state.number
        self.rounds = Rounds(self.state, min_cohort)
        self.session_id = SessionId(random(16))

    @property
    def shared(self) -> SharedModel:
        """The shared model as of the last round that this hospital has applied."""
        return self.state.shared

    @property
    def group(self) -> GroupKey | None:
        """The key that this hospital holds with the others."""
        return self.state.group

    @property
    def run(self) -> bytes:
        """The current run's id; empty before the first run."""
        return self.durable.run

    @property
    def round(self) -> int | None:
        """The round in progress, None outside of one."""
        return self.rounds.number

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
            text = sentences.faulty(error, self.roster)
            return self.rounds.refuse(message, error.reason, text)
        except (PeerError, RoundAborted) as error:
            return self.rounds.refuse(message, error.reason, str(error))
        except CryptoError as error:
            return self.rounds.refuse(message, Reason.RANGE, str(error))

    def trained(self, round_: int, trained: Trained, confusion: Confusion) -> list[Effect]:
        """Take the training that `Train` asked for; see `Rounds.trained`."""
        return self.rounds.trained(round_, trained, confusion)

    def failed(self, round_: int, text: str, reason: Reason) -> list[Effect]:
        """Take the news that the training failed; see `Rounds.failed`."""
        return self.rounds.failed(round_, text, reason)

    def stop(self) -> list[Effect]:
        """Leave the round in progress, if any, because the operator stops this hospital."""
        return self.rounds.stop()

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
                    model=self.state.version,
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
                return [Note(sentences.rejected(message.code), error=True)]
            case Synchronise():
                return self.state.synchronise(message)
            case StateRequest():
                return self.state.grant(message)
            case StateAnswer():
                return self._moved(self.state.accept(message))
            case StartRound():
                return self.rounds.start(message)
            case KeyList() | Delivery() | Grant() | Survivors() | UnmaskRequest():
                return self.rounds.take(message)
            case Aggregate():
                return self.rounds.apply(message)
            case AbortRound():
                return self.rounds.abort(message)
            case Finish():
                return [*self.rounds.leave(), Finished(message.completed, message.code or "")]
        raise FaultyCoordinator(
            f"sent {type(message).__name__}, which is a hospital's to send", Reason.UNEXPECTED
        )

    def _welcome(self, message: Welcome) -> list[Effect]:
        if message.run == self.durable.run:
            return []
        if message.run in self.durable.past_runs:
            raise FaultyCoordinator("leads a run that is over", Reason.REPLAY)
        effects = self.rounds.begin_run()
        if self.durable.run:
            self.durable.past_runs.append(self.durable.run)
        self.durable.run, self.durable.answered, self.durable.least_epoch = message.run, 0, 0
        self.state.begin(self.start)
        return [*effects, NewRun(message.run)]

    def _moved(self, effects: list[Effect]) -> list[Effect]:
        """Leave the round in progress if the model has changed under it."""
        moved = any(isinstance(effect, Adopt) for effect in effects)
        return [*self.rounds.leave(), *effects] if moved else effects
