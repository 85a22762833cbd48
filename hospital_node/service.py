"""One hospital as a process: performs its session's effects over ZeroMQ, trains beside, writes
everything down.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from federation import codec, model
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
from federation.errors import ConfigError, PeerError, Reason
from federation.limits import from_coordinator
from federation.messages import Progress, Refusal, Rejected
from federation.transport.link import (
    Connected,
    CurveKeys,
    Denied,
    Disconnected,
    HospitalLink,
    Received,
    Violation,
)
from hospital_node import local_data
from hospital_node.learner import Learner, accuracy
from hospital_node.session import Session
from hospital_node.settings import Hospital
from hospital_node.storage import Storage
from hospital_node.summary import about, figures
from hospital_node.worker import BaselinesDone, Failed, Result, Tested, TrainingDone, Worker
from learning import device
from learning.evaluation import metrics

PROGRESS_S = 1.0
HELLO_S = 10.0
"""After so long a silence a hospital says again that it is there: the coordinator may have given it
up while it was slow.
"""

Tell = Callable[[str], None]
Tap = Callable[[str, bytes, Sequence[Any]], None]


class Node:
    """`serve` returns when the run is over (0), or was stopped by its operator (0 too); its folder
    is valid either way.
    """

    def __init__(self, hospital: Hospital, tell: Tell = print, tap: Tap | None = None) -> None:
        self.hospital, self.tell = hospital, tell
        config, files = hospital.config, hospital.settings.hospital
        self.storage = Storage(hospital.out)
        try:
            device.prepare(files.threads or None)
            where = device.choose(files.device)
        except ValueError as error:
            raise ConfigError(f"{hospital.path}: hospital.device: {error}") from None
        self.start = model.read_start(hospital.start_path, config)
        self.data = local_data.load(hospital.settings.data, config, hospital.out / "images.cache")
        for sentence in self.data.skipped[:20]:
            tell(f"skipped an image: {sentence}")
        if not len(self.data.train):
            raise ConfigError(
                f"{hospital.path}: data: no image is left to train on; lower data.test_fraction or"
                " add images"
            )
        self.learner = Learner(
            config, self.start.layout, hospital.secrets.own_secret, self.data, where
        )
        memory = self.storage.read_memory()
        shared = self.storage.read_shared(self.start.layout) if memory.run else None
        self.session = Session(
            hospital.secrets,
            config,
            hospital.roster,
            self.start,
            shared or model.read_start(hospital.start_path, config),
            memory,
            hospital.settings.policy.min_cohort,
        )
        if memory.run:
            self.learner.reset(memory.run)
            if self.storage.private.exists():
                self.learner.load_private(self.storage.private)
        keys = hospital.secrets
        self.limits = from_coordinator(config, self.start.layout, len(hospital.roster))
        self.link = HospitalLink(
            hospital.address,
            CurveKeys(bytes.fromhex(keys.transport_public), bytes.fromhex(keys.transport)),
            bytes.fromhex(hospital.roster.coordinator.transport),
            lambda peer: self.limits.total,
            tap,
        )
        self.coordinator = bytes.fromhex(hospital.roster.coordinator.transport)
        self.worker = Worker(self.learner, self.storage, self.link.wake)
        self.confusion = np.zeros((self.learner.classes, self.learner.classes), np.int64)
        self.lines: dict[int, dict[str, Any]] = {}
        self.began = time.monotonic()
        self.finished: Finished | None = None
        self.stopping = self.over = self.summarised = self.turned = False
        self._told = (0, 0)
        self._next_progress = 0.0
        self._heard = time.monotonic()

    # ---- the loop --------------------------------------------------------------------

    def serve(self) -> int:
        """Serve until the run is over or `stop` was called; 2 if the coordinator turned this
        hospital away.
        """
        with self.storage.alone():
            return self._serve()

    def _serve(self) -> int:
        if self.storage.finished(self.session.memory.run):
            self.tell(
                f"the last run is over, its results are in {self.storage.folder}; waiting for the"
                " coordinator to begin another one"
            )
        self.tell(f"{self.hospital.secrets.id}: connecting to {self.hospital.address}")
        try:
            while not self.over:
                for event in self.link.poll(0.2):
                    self._event(event)
                while not self.worker.results.empty():
                    self._result(self.worker.results.get())
                self._tell_progress()
                self._say_hello()
                if self.stopping:
                    self._stop()
        finally:
            self.worker.stop()
            self._write_summary(None)
            self.link.close(2.0)
        return 2 if self.turned else 0

    def stop(self) -> None:
        """From a signal handler or another thread: stop between two batches. Asked twice, the
        process ends at once.
        """
        if self.stopping:
            os._exit(130)
        self.stopping = True

    def _stop(self) -> None:
        current = self.session.current
        if current is not None:
            self._send(Refusal(round=current.plan.round, code=Reason.STOPPED))
        self.tell("stopped; start it again to go on where it was")
        self.over = True

    def _event(self, event: object) -> None:
        match event:
            case Connected():
                self._send(self.session.hello())
            case Received(frames=frames):
                try:
                    message = codec.decode(frames, self.limits)
                except PeerError as error:
                    self.tell(f"refused what the coordinator sent: {error}")
                    return
                self._heard = time.monotonic()
                self._perform(self.session.receive(message))
                if isinstance(message, Rejected):  # with these files it will be turned away again
                    self.turned = self.over = True
            case Disconnected(reason=reason) | Denied(reason=reason) | Violation(reason=reason):
                if self.finished is None:
                    self.tell(reason)

    def _send(self, message: Any) -> None:
        self.link.send(self.coordinator, codec.encode(message))

    # ---- effects ---------------------------------------------------------------------

    def _perform(self, effects: list[Effect]) -> None:
        session, worker = self.session, self.worker
        for effect in effects:
            match effect:
                case Send(message=message):
                    self._send(message)
                case Remember():
                    self.storage.write_memory(session.memory)
                case NewRun(run=run):
                    self.storage.begin_run(session.memory, self.hospital.config)
                    worker.reset(run)
                    self.tell(f"run {run.hex()[:12]} begins")
                case Train(round=round_):
                    worker.train(session.shared.vector, session.memory.run, round_)
                case Discard(round=round_):
                    worker.discard(round_)
                case Applied(round=round_, counted=counted):
                    session.shared.save(self.storage.shared)
                    worker.adopt(session.shared.vector, counted, round_)
                    self._line(round_)["counted"] = counted
                case Finished():
                    self._finish(effect)
                case Note(text=text):
                    self.tell(text)

    def _result(self, result: Result) -> None:
        session = self.session
        match result:
            case TrainingDone(round=round_, trained=done):
                self._line(round_).update(
                    {
                        "train_loss": done.stats.loss,
                        "train_seconds": done.stats.seconds,
                        "steps": done.stats.steps,
                    }
                )
                counts = tuple(int(n) for n in self.confusion.reshape(-1))
                self._perform(
                    session.trained(
                        round_,
                        done.update,
                        done.stats.examples,
                        done.stats.steps,
                        counts,
                        done.memory,
                    )
                )
            case Tested(round=round_, scores=scores):
                self.confusion = scores.confusion
                found = metrics(scores.confusion)
                line = self._line(round_)
                line["protect_seconds"] = session.protecting.lap()
                line |= {
                    "accuracy": found.accuracy,
                    "balanced_accuracy": found.balanced_accuracy,
                    "test_loss": _finite(scores.loss),
                }
                if session.clipped is not None:
                    line["clipped"] = session.clipped
                self.storage.add_metrics(line)
                score = (
                    "" if found.accuracy is None else f": local test {100 * found.accuracy:.1f} %"
                )
                self.tell(
                    f"round {round_} of {self.hospital.config.federation.rounds} is done{score}"
                )
                self.lines = {later: kept for later, kept in self.lines.items() if later > round_}
                share = self.hospital.settings.policy.share_metrics
                self._perform(session.report(accuracy(scores.confusion), share))
            case BaselinesDone(confusions=confusions):
                self._write_summary(confusions)
                self._done()
            case Failed(round=round_, error=error, trace=trace):
                (self.storage.folder / "error.log").write_text(trace)
                if isinstance(error, ConfigError):
                    raise error
                text = (
                    f"training failed: {type(error).__name__}: {error}; the whole of it is in"
                    f" {self.storage.folder / 'error.log'}"
                )
                self._perform(session.failed(round_, text, Reason.TRAINING))
                self.over = self.over or self.finished is not None

    def _say_hello(self) -> None:
        now = time.monotonic()
        if now - self._heard > HELLO_S and self.session.memory.run and self.finished is None:
            self._heard = now
            self._send(self.session.hello())

    def _line(self, round_: int) -> dict[str, Any]:
        """The line of metrics.jsonl that is being written for this round; the next one may begin
        before it is tested.
        """
        return self.lines.setdefault(round_, {"round": round_})

    def _tell_progress(self) -> None:
        now, current = time.monotonic(), self.session.current
        if current is None or now < self._next_progress or not self.worker.steps:
            return
        at = (current.plan.round, 100 * self.worker.step // self.worker.steps)
        if at != self._told:
            self._told, self._next_progress = at, now + PROGRESS_S
            self._send(Progress(round=at[0], percent=at[1]))

    # ---- the end ---------------------------------------------------------------------

    def _finish(self, effect: Finished) -> None:
        if self.finished is not None:
            return
        self.finished = effect
        self._write_summary(None)  # what follows may take long
        self.tell(
            f"the run is over after {effect.completed} rounds"
            + (f" ({effect.code})" if effect.code else "")
        )
        if (
            self.hospital.settings.policy.baselines
            and not effect.code
            and self.session.shared.round
        ):
            self.tell("computing baselines: majority class, a linear model, training alone")
            rounds = self.session.memory.answered
            self.worker.baselines(self.start.vector, self.session.memory.run, rounds)
        else:
            self._done()

    def _done(self) -> None:
        self.tell(f"done; `flop report {self.storage.folder}` makes a page of the results")
        self.over = True

    def _write_summary(self, confusions: dict[str, list[list[int]]] | None) -> None:
        if not self.session.memory.run or (confusions is None and self.summarised):
            return
        summary = about(
            self.hospital.secrets.id,
            self.hospital.config,
            self.session,
            self.learner,
            self.storage,
            self.confusion,
        )
        summary["baselines"] = {
            name: figures(matrix) for name, matrix in (confusions or {}).items()
        }
        summary["finished"] = self.finished is not None and not self.finished.code
        self.storage.write_summary(summary)
        self.summarised = True


def _finite(value: float) -> float | None:
    return value if np.isfinite(value) else None


def serve(path: Any, tell: Tell = print) -> int:
    """`flop node --config hospital.toml`. Raises ConfigError."""
    node = Node(Hospital(path), tell)
    for name in (signal.SIGINT, signal.SIGTERM):
        signal.signal(name, lambda number, frame: node.stop())
    return node.serve()
