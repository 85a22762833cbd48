"""Performs what a hospital's session asks for: on its storage, its learner and its operator's log.

It knows no socket, no clock and no thread. The service and the simulation hand it the coordinator's
messages and the learner's results, and send the messages that it returns.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Generic, TypeVar

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
from federation.errors import ConfigError, Reason
from federation.messages import Message, Rejected
from hospital_node.journal import Journal
from hospital_node.session import Session
from hospital_node.stopwatch import Stopwatch
from hospital_node.storage import Storage
from hospital_node.work import BaselinesDone, Failed, LocalTestDone, Result, TrainingDone, Work
from learning.metrics import sentence

Tell = Callable[[str], None]
W = TypeVar("W", bound=Work)


def silent(text: str) -> None:
    """A `Tell` that drops everything."""


class Keeper(Generic[W]):
    """Keeps one hospital: `session` decides, `perform` does it.

    Attributes:
        end: How the run ended, None before that.
        over: Whether there is nothing left to do.
        rejected: Whether the coordinator turned this hospital away.
        unreported: The round whose model is tested now and was not reported yet, if any.
    """

    def __init__(
        self,
        session: Session,
        work: W,
        storage: Storage,
        *,
        share_metrics: bool = False,
        baselines: bool = False,
        tell: Tell = silent,
        note: Callable[[Note], None] | None = None,
    ) -> None:
        """Prepare to keep `session`; nothing is done yet.

        Args:
            work: Is asked to train and test; its results come back through `finished`.
            share_metrics: Whether the coordinator is told the local test's accuracy and how many
                values were clipped.
            baselines: Whether baselines are computed after the run.
            tell: Is given each sentence for the operator.
            note: Is given the session's notes instead of `tell`.
        """
        self.session, self.work, self.storage = session, work, storage
        self.share_metrics, self.baselines, self.tell = share_metrics, baselines, tell
        self.note = note or (lambda note: tell(note.text))
        self.journal = Journal(session.keys.id, session.config, storage)
        self.end: Finished | None = None
        self.over = self.rejected = False
        self.unreported: int | None = None
        self._protecting = Stopwatch()
        """Runs while the session checks, codes, masks or encrypts; for a figure only."""
        self._summarised = False

    # ---- what services and simulation call -------------------------------------------

    def hello(self) -> Message:
        """Return what is to be sent at every connection."""
        return self.session.hello()

    def receive(self, message: Message) -> list[Message]:
        """Take a decoded message of the coordinator; return the answers."""
        with self._protecting:
            effects = self.session.receive(message)
        if isinstance(message, Rejected):  # with these files it would be turned away again
            self.rejected = self.over = True
        return self.perform(effects)

    def finished(self, result: Result) -> list[Message]:
        """Take the result of a request to `work`; return what is to be sent.

        Raises:
            ConfigError: If the work failed because of the operator's files.
        """
        match result:
            case TrainingDone():
                return self._trained(result)
            case LocalTestDone():
                return self._tested(result)
            case BaselinesDone(confusions=confusions):
                self.summarise(confusions)
                self._done()
                return []
            case Failed():
                return self._failed(result)

    def report_untested(self) -> list[Message]:
        """Report a model whose test takes long; its score follows in a second report."""
        round_, self.unreported = self.unreported, None
        return [] if round_ is None else self._report(round_, None, None)

    def stop(self) -> list[Message]:
        """Leave the round in progress because the operator stops this hospital."""
        self.over = True
        return self.perform(self.session.stop())

    def perform(self, effects: Iterable[Effect]) -> list[Message]:
        """Do everything that `effects` ask for except sending; return what is to be sent."""
        messages: list[Message] = []
        for effect in effects:
            match effect:
                case Send(message=message):
                    messages.append(message)
                case Remember():
                    self.storage.write_durable(self.session.durable)
                case NewRun(run=run):
                    self.storage.begin_run(self.session.durable, self.session.config)
                    self.work.reset(run)
                    self.tell(f"run {run.hex()[:12]} begins")
                case Train(run=run, round=round_, shared=shared):
                    self.work.train(shared, run, round_)
                case Discard(round=round_):
                    self.work.discard(round_)
                case Adopt():
                    self._adopt(effect)
                case Finished():
                    self._finish(effect)
                case Note():
                    self.note(effect)
        return messages

    def summarise(self, baselines: dict[str, list[list[int]]] | None = None) -> None:
        """Write summary.json; without `baselines` only if it was not written before."""
        if not self.session.run or (baselines is None and self._summarised):
            return
        done = self.end is not None and not self.end.code
        session, facts = self.session, self.work.facts()
        self.journal.summarise(session.run, session.shared, facts, baselines or {}, done)
        self._summarised = True

    # ---- effects ---------------------------------------------------------------------

    def _adopt(self, effect: Adopt) -> None:
        round_ = effect.shared.round
        self.storage.write_shared(effect.shared)
        self.journal.adopted(round_, effect.counted, effect.clipped)
        self.work.adopt(effect.shared.vector, effect.counted, round_)
        self.unreported = round_

    def _finish(self, end: Finished) -> None:
        if self.end is not None:
            return
        self.end = end
        self.summarise()  # the baselines may take long
        why = f" ({end.code})" if end.code else ""
        self.tell(f"the run is over after {end.completed} rounds{why}")
        if self.baselines and not end.code and self.session.shared.round:
            self.tell("computing baselines: majority class, a linear model, training alone")
            start, answered = self.session.start.vector, self.session.durable.answered
            self.work.baselines(start, self.session.run, answered)
        else:
            self._done()

    def _done(self) -> None:
        self.tell(f"done; `flop report {self.storage.folder}` makes a page of the results")
        self.over = True

    # ---- results ---------------------------------------------------------------------

    def _trained(self, done: TrainingDone) -> list[Message]:
        self.journal.trained(done.round, done.trained)
        with self._protecting:
            effects = self.session.trained(done.round, done.trained, self.journal.confusion)
        return self.perform(effects)

    def _tested(self, tested: LocalTestDone) -> list[Message]:
        line = self.journal.tested(tested, self._protecting.lap())
        told = sentence(line.metrics)
        score = f": local test {told}" if told else ""
        rounds = self.session.config.federation.rounds
        self.tell(f"round {tested.round} of {rounds} is done{score}")
        reported = self.unreported != tested.round
        if not reported:
            self.unreported = None
        elif not self.share_metrics:
            return []  # there is nothing to add
        return self._report(tested.round, line.metrics["accuracy"], line.clipped)

    def _report(self, round_: int, accuracy: float | None, clipped: int | None) -> list[Message]:
        if not self.share_metrics:
            accuracy = clipped = None
        return self.perform(self.session.report(round_, accuracy, clipped))

    def _failed(self, failed: Failed) -> list[Message]:
        self.storage.error_log.write_text(failed.trace)
        if isinstance(failed.error, ConfigError):
            raise failed.error
        text = (
            f"training failed: {type(failed.error).__name__}: {failed.error}; the whole of it is in"
            f" {self.storage.error_log}"
        )
        messages = self.perform(self.session.failed(failed.round, text, Reason.TRAINING))
        self.over = self.over or self.end is not None
        return messages
