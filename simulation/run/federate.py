"""A federation in this process: the same sessions over a bus, real learners, one copy of the data."""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import torch

from coordinator.keeper import Keeper
from coordinator.run import Run
from coordinator.store import Store
from federation import model
from federation.effects import Applied, Effect
from federation.errors import ConfigError
from federation.records.events import Logged
from federation.records.state import RunProgress, Status
from hospital_node.learner import Learner, accuracy
from hospital_node.local_data import divide
from hospital_node.session import Session
from hospital_node.standing import Memory
from hospital_node.storage import Storage
from hospital_node.summary import about, figures
from learning import device
from learning.data import Dataset, LocalData, load_parts
from learning.evaluation import metrics
from simulation.run.memory import MemoryFederation
from simulation.run.options import Options
from simulation.run.prepare import Prepared, admit
from simulation.run.seeds import hospital_ids, own_secret, run_id

Watch = Callable[[Status], None]
Stop = Callable[[], bool]


class Stopped(Exception):
    """Ctrl-C, seen between two batches."""


@dataclass(frozen=True)
class Divided:
    """The training folder, loaded once, and each hospital's rows of it."""

    locals: list[LocalData]
    notes: tuple[str, ...]


def load_divided(options: Options, dataset: Dataset, where: torch.device) -> Divided:
    """Load all images once, for every hospital as its own process would. Raises ConfigError."""
    parts = divide(dataset.train, options.partition, options.hospitals, options.seed)
    found = load_parts(
        dataset.train,
        parts.parts,
        test_fraction=options.test_fraction,
        seed=options.seed,
        notes=parts.notes,
        device=where,
    )
    for who, local in zip(hospital_ids(options.hospitals), found, strict=True):
        if not len(local):
            raise ConfigError(
                f"--data {options.data}: {who} has no image that can be read"
                f" ({'; '.join(local.skipped[:3])}); ask for fewer hospitals or mend it"
            )
    return Divided(found, tuple(parts.notes))


class LearnerBody:
    """A real learner behind a session of the bus; writes what a hospital's own process would."""

    def __init__(self, learner: Learner, storage: Storage, stop: Stop) -> None:
        self.learner, self.storage, self.stop = learner, storage, stop
        self.confusion = np.zeros((learner.classes, learner.classes), np.int64)
        self.line: dict[str, Any] = {}

    def reset(self, session: Session) -> None:
        self.learner.reset(session.memory.run)

    def train(self, session: Session, round_: int) -> list[Effect]:
        done = self.learner.train(session.shared.vector, session.memory.run, round_, stop=self.stop)
        if done.stats.stopped:
            raise Stopped
        self.line = {
            "round": round_,
            "train_loss": done.stats.loss,
            "train_seconds": done.stats.seconds,
            "steps": done.stats.steps,
        }
        counts = tuple(int(n) for n in self.confusion.reshape(-1))
        return session.trained(
            round_, done.update, done.stats.examples, done.stats.steps, counts, done.memory
        )

    def discard(self) -> None:
        self.learner.discard()

    def applied(self, session: Session, effect: Applied) -> list[Effect]:
        if self.stop():
            raise Stopped
        self.learner.adopt(session.shared.vector, effect.counted)
        scores = self.learner.test()
        self.confusion = scores.confusion
        found = metrics(scores.confusion)
        line = self.line if self.line.get("round") == effect.round else {"round": effect.round}
        line |= {
            "counted": effect.counted,
            "accuracy": found.accuracy,
            "balanced_accuracy": found.balanced_accuracy,
        }
        line["protect_seconds"] = session.protecting.lap()
        line["test_loss"] = None if np.isnan(scores.loss) else scores.loss
        if session.clipped >= 0:
            line["clipped"] = session.clipped
        self.storage.add_metrics(line)
        return session.report(accuracy(scores.confusion), share=True)


class Federation:
    """`play` runs it from the start (a memory run that was stopped begins again: it is
    deterministic).
    """

    def __init__(
        self, prepared: Prepared, stop: Stop = lambda: False, watch: Watch | None = None
    ) -> None:
        options, config = prepared.options, prepared.config
        self.prepared, self.watch, self.began = prepared, watch, time.monotonic()
        device.prepare(1)
        self.where = device.choose(options.device)
        self.start = model.read_start(prepared.folder / config.model.start, config)
        self.roster, keys = admit(prepared, "127.0.0.1:1", _unused_transport)
        self.divided = load_divided(options, prepared.dataset, self.where)
        for name in ("events.jsonl", "metrics.jsonl"):
            (options.out / name).unlink(missing_ok=True)
        self.bodies: dict[int, LearnerBody] = {}
        hospitals = {}
        network = None
        for number, identifier in enumerate(prepared.ids):
            storage = Storage(options.out / "hospitals" / identifier)
            (storage.folder / "metrics.jsonl").unlink(missing_ok=True)
            learner = Learner(
                config,
                self.start.layout,
                own_secret(options.seed, identifier),
                self.divided.locals[number],
                self.where,
                network,
            )
            # one for all: a hundred hospitals hold a hundred sets of numbers, not a hundred
            # networks
            network = learner.model
            session = Session(
                keys[identifier],
                config,
                self.roster,
                self.start,
                self._fresh(),
                Memory(),
                config.federation.min_cohort,
            )
            self.bodies[number] = LearnerBody(learner, storage, stop)
            hospitals[number] = (session, self.bodies[number])
        self.sessions = {number: session for number, (session, _) in hospitals.items()}
        self.keeper = Keeper(
            config,
            self.roster,
            self.start,
            Store(options.out, config),
            RunProgress.of(run_id(options.seed), config.digest),
            record=options.record,
        )
        self.run = self.keeper.run
        self.bus = MemoryFederation(
            config,
            self.start.layout,
            self.run,
            hospitals,
            watch=self._watch,
            keeper=self.keeper,
        )

    def _fresh(self) -> model.SharedModel:
        return model.SharedModel(
            self.start.layout, self.start.vector.copy(), self.start.clips.copy()
        )

    def play(self) -> None:
        """Run all rounds. Raises Stopped."""
        self.bus.play()

    def save(self) -> None:
        """Write what the processes of a real federation would have written."""
        for number, body in self.bodies.items():
            self.sessions[number].shared.save(body.storage.shared)
            body.learner.save_private(body.storage.private)
        (self.keeper.model or self.sessions[0].shared).save(
            self.prepared.options.out / "shared.safetensors"
        )

    def summaries(self, baselines: bool, stop: Stop) -> list[dict[str, Any]]:
        """Each hospital's own summary, with its baselines, as its process would write it."""
        made = []
        for number, body in self.bodies.items():
            confusions = (
                body.learner.baselines(self.start.vector, self.run.run, self.run.last_begun, stop)
                if baselines and not stop()
                else {}
            )
            session, config = self.sessions[number], self.prepared.config
            summary = about(
                self.prepared.ids[number],
                config,
                session,
                body.learner,
                body.storage,
                body.confusion,
            )
            summary["baselines"] = {name: figures(matrix) for name, matrix in confusions.items()}
            summary["finished"] = self.bus.finished is not None
            body.storage.write_summary(summary)
            made.append(summary)
        return made

    # ---- watching --------------------------------------------------------------------

    def _watch(self, effect: Logged | Applied, run: Run) -> None:
        if self.watch is not None:
            self.watch(self.keeper.snapshot(time.monotonic() - self.began))

    def coordinator_summary(self) -> dict[str, Any]:
        """What the coordinator's process would write."""
        seconds = time.monotonic() - self.began
        found = self.keeper.summary(seconds, self.bus.aggregating.lap())
        return dict(msgspec.to_builtins(found))


def _unused_transport() -> tuple[bytes, bytes]:
    """In memory nobody connects; the roster still wants keys that differ."""
    return secrets.token_bytes(32), secrets.token_bytes(32)


def read_json(path: Path) -> dict[str, Any]:
    return dict(json.loads(path.read_text())) if path.exists() else {}
