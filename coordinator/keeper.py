"""Performs what a coordinator's run asks for: its copy of the model, the run directory, what the
operator reads.

It knows no socket, no clock and no thread. The service and the simulation hand it the run's effects
and send the messages that it returns.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from coordinator import narrate, status
from coordinator.run import Run
from coordinator.store import Recorder, Store
from federation import protections
from federation.coding import Coding
from federation.config import FederationConfig
from federation.effects import Applied, Effect, Finished, Send
from federation.errors import ConfigError
from federation.limits import from_coordinator, vector_bytes
from federation.messages import Aggregate, Update
from federation.model import SharedModel
from federation.records.events import (
    ConnectionRefused,
    HospitalDisconnected,
    HospitalJoined,
    HospitalRefused,
    HospitalRejected,
    LateMessage,
    Logged,
    RoundBegun,
    RoundDiscarded,
    RoundReported,
    SumApplied,
    UnreadableMessage,
)
from federation.records.state import ObservedRound, RunProgress, Status
from federation.records.summary import CoordinatorSummary, Seconds, Traffic
from federation.roster import Roster
from federation.types import HospitalNumber

Tell = Callable[[str], None]
AtAnyTime = (
    LateMessage
    | UnreadableMessage
    | HospitalRefused
    | HospitalJoined
    | HospitalRejected
    | HospitalDisconnected
)
"""Events that a hospital can cause as often as it likes; all others are bounded by the rounds."""


def silent(text: str) -> None:
    """A `Tell` that drops everything."""


class Keeper:
    """Keeps one run: `run` decides, `perform` does it.

    Attributes:
        run: The state machine.
        model: The coordinator's copy of the shared model; None if the protection hides it.
        finished: How the run ended, None before that.
    """

    def __init__(
        self,
        config: FederationConfig,
        roster: Roster,
        start: SharedModel,
        store: Store,
        progress: RunProgress,
        *,
        record: bool = False,
        tell: Tell = silent,
        now: float = 0.0,
    ) -> None:
        """Go on from `progress`, at the time `now`.

        Args:
            start: The agreed model before round 1; it is not changed.
            record: Whether to keep what the coordinator sees of every round.
            tell: Is given each sentence for the operator.

        Raises:
            ConfigError: If the store has no model of this round.
        """
        self.config, self.roster, self.start, self.store = config, roster, start, store
        self.tell = tell
        self.recorder = Recorder(store.folder) if record else None
        self.run = Run(config, roster, start.layout, progress, now)
        self.ids = [party.id for party in roster.hospitals]
        self.model: SharedModel | None = None
        if not protections.get(config.protection.kind).hidden:
            self.model = store.read_model(start, progress.applied)
            if self.model is None:
                raise ConfigError(
                    f"{store.shared}: is not the model of round {progress.applied}; move"
                    f" {store.folder} away to begin a new run"
                )
        self.coding = Coding.of(config, start.layout)
        self.finished: Finished | None = None
        self._uploaded = 0
        self._aggregate = 0
        """The last round whose aggregate was recorded."""
        self._written = progress
        store.write(progress)

    # ---- what services and simulation call -------------------------------------------

    def perform(self, effects: Iterable[Effect]) -> list[Send]:
        """Do everything that `effects` ask for except sending.

        Returns:
            What is to be sent, in order. Where the run stands is on the disk before: whatever a
            hospital hears of is known after a restart.
        """
        sends = []
        for effect in effects:
            match effect:
                case Send():
                    sends.append(effect)
                    self._record_aggregate(effect)
                case Logged():
                    self._event(effect)
                case Applied():
                    self._apply(effect)
                case Finished():
                    self.finished = effect
                    self.tell(narrate.end(effect, self.config.federation.rounds))
        if self.run.progress != self._written:
            self._written = self.run.progress
            self.store.write(self._written)
        return sends

    def uploaded(self, who: HospitalNumber, message: Update, size: int) -> None:
        """Count and record an upload of hospital `who` that came in `size` bytes, before the run is
        given it.
        """
        self._uploaded += size
        if self.recorder is not None:
            self.recorder.update(self.ids[who], message)

    def refused(self, by: str, text: str) -> None:
        """Somebody who is no hospital of the roster, known as `by`, was not let in."""
        event = ConnectionRefused(text)
        told = narrate.sentence(event, self.config.federation.rounds)
        if self.store.add(event, by) and told is not None:
            self.tell(told)

    def snapshot(self, seconds: float) -> Status:
        """What the live table shows `seconds` after the start."""
        return status.snapshot(self.run, seconds)

    def summary(self, seconds: float, aggregate_seconds: float) -> CoordinatorSummary:
        """summary.json.

        Args:
            seconds: Since the start.
            aggregate_seconds: How much of it was spent in taking what hospitals sent.
        """
        uploads = max(1, self.run.completed) * self.config.federation.cohort
        up, down = vector_bytes(self.config, self.start.layout)
        plain = 4 * self.coding.values
        limits = from_coordinator(self.config, self.start.layout, len(self.roster))
        return CoordinatorSummary(
            run=self.run.progress.run,
            protection=self.config.protection.kind,
            rounds_completed=self.run.completed,
            finished=self.finished is not None and not self.finished.code,
            stopped=self.finished.code if self.finished else "",
            mean_shared_accuracy=self.run.mean_accuracy,
            bytes=Traffic(
                upload_per_hospital_per_round=(
                    round(self._uploaded / uploads) if self._uploaded else up
                ),
                download_per_hospital_per_round=down,
                plain_float32=plain,
                expansion=up / plain if plain else None,
            ),
            seconds=Seconds(total=seconds, aggregate=aggregate_seconds),
            limits={"body_from_coordinator": limits.body},
        )

    # ---- effects ---------------------------------------------------------------------

    def _apply(self, effect: Applied) -> None:
        if effect.total is None:
            return
        if self.model is not None:
            self.model.apply(effect.total, self.coding, self.config, effect.round)
            self.store.write_model(self.model)
        self.store.add(SumApplied(effect.round, effect.total.examples, effect.total.clipped))

    def _take_back(self) -> None:
        """The hospitals did not apply the last sum, so this copy of the model must not have it."""
        if self.model is None:
            return
        self.model = self.store.read_model(self.start, self.run.applied)
        if self.model is None:
            self.tell(
                f"This run directory has no model of round {self.run.applied}. From now on the"
                " coordinator keeps no copy of the model: take it from a hospital's run directory."
            )
        else:
            self.store.take_back_model(self.model)

    def _record_aggregate(self, send: Send) -> None:
        message = send.message
        if (
            self.recorder is not None
            and isinstance(message, Aggregate)
            and message.round != self._aggregate
        ):
            self._aggregate = message.round
            self.recorder.aggregate(message)

    def _event(self, event: Logged) -> None:
        by = event.hospital if isinstance(event, AtAnyTime) else ""
        if not self.store.add(event, by):
            return
        told = narrate.sentence(event, self.config.federation.rounds)
        if told is not None:
            self.tell(told)
        match event:
            case RoundBegun(round=round_, cohort=cohort) if self.recorder is not None:
                about = ObservedRound(round=round_, run=self.run.progress.run, cohort=cohort)
                self.recorder.begin(about, self.model)
            case RoundReported():
                self.store.confirm_model()
            case RoundDiscarded():
                self._take_back()
