"""A federation in this process: the product's keepers over a bus, and one copy of the data."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch

from coordinator.keeper import Keeper
from coordinator.run import Run
from coordinator.store import Store
from federation import model
from federation.effects import Applied
from federation.errors import ConfigError
from federation.keys import Secrets
from federation.records.events import Logged
from federation.records.state import RunProgress, Status
from federation.records.summary import CoordinatorSummary
from hospital_node.durable import Durable
from hospital_node.jobs import Jobs
from hospital_node.keeper import Keeper as HospitalKeeper
from hospital_node.learner import Learner
from hospital_node.session import Session
from hospital_node.storage import Storage
from hospital_node.work import Job, Result
from learning import device
from learning.data import LocalData, load_parts
from simulation.run.memory import MemoryFederation
from simulation.run.prepare import Prepared, admit
from simulation.run.seeds import hospital_ids, own_secret, run_id
from simulation.run.storages import Deferred

Watch = Callable[[Status], None]
Stop = Callable[[], bool]


class Stopped(Exception):
    """Ctrl-C, seen between two batches."""


@dataclass(frozen=True)
class Divided:
    """The training folder, loaded once, and each hospital's rows of it."""

    locals: list[LocalData]
    notes: tuple[str, ...]


def load_divided(prepared: Prepared, where: torch.device) -> Divided:
    """Load all images once, for every hospital as its own process would. Raises ConfigError."""
    options, parts = prepared.options, prepared.division
    found = load_parts(
        prepared.dataset.train,
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


class Queued(Jobs):
    """A learner's work, done when the bus comes to it; `Stopped` is raised if `stop` says so."""

    def __init__(self, learner: Learner, storage: Storage, stop: Stop) -> None:
        super().__init__(learner, storage)
        self._stop = stop
        self._jobs: list[Job] = []

    def put(self, job: Job, round_: int) -> None:
        def unless_stopped() -> Result | None:
            if self._stop():
                raise Stopped
            result = job()
            if result is None and self._stop():
                raise Stopped
            return result

        self._jobs.append(unless_stopped)

    def stopped(self, round_: int | None) -> bool:
        return self._stop()

    def due(self) -> list[tuple[float, Job]]:
        """Return what was asked for since the last call; it takes no virtual time."""
        due, self._jobs = self._jobs, []
        return [(0.0, job) for job in due]


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
        self.divided = load_divided(prepared, self.where)
        for name in ("events.jsonl", "metrics.jsonl"):
            (options.out / name).unlink(missing_ok=True)
        self.learners: list[Learner] = []
        self.storages: list[Deferred] = []
        self.hospitals: dict[int, HospitalKeeper[Queued]] = {}
        for number, identifier in enumerate(prepared.ids):
            self.learners.append(self._learner(number))
            self.storages.append(Deferred(options.out / "hospitals" / identifier))
            self.hospitals[number] = self._hospital(number, keys[identifier], stop)
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
            self.hospitals,
            watch=self._watch,
            keeper=self.keeper,
        )

    def _learner(self, number: int) -> Learner:
        # one network for all: a hundred hospitals hold a hundred sets of numbers
        network = self.learners[0].model if self.learners else None
        options = self.prepared.options
        return Learner(
            self.prepared.config,
            self.start.layout,
            own_secret(options.seed, self.prepared.ids[number]),
            self.divided.locals[number],
            device.choose_several(options.device),
            network,
        )

    def _hospital(self, number: int, keys: Secrets, stop: Stop) -> HospitalKeeper[Queued]:
        config, start = self.prepared.config, self.start
        session = Session(
            keys,
            config,
            self.roster,
            start,
            model.SharedModel(start.layout, start.vector.copy(), start.clips.copy()),
            Durable(),
            config.federation.min_cohort,
        )
        storage = self.storages[number]
        return HospitalKeeper(
            session,
            Queued(self.learners[number], storage, stop),
            storage,
            share_metrics=True,
            baselines=self.prepared.options.baselines,
            note=lambda note: self.bus.notes.append((number, note)),
        )

    def play(self) -> None:
        """Run all rounds, and then the baselines if they are asked for. Raises Stopped."""
        self.bus.play()

    def save(self) -> None:
        """Write what the processes of a real federation would have written."""
        for storage in self.storages:
            storage.flush()
        shared = self.keeper.model or self.hospitals[0].session.shared
        shared.save(self.prepared.options.out / "shared.safetensors")

    def summarise(self) -> None:
        """Write each hospital's own summary; one that has not begun the run has none."""
        for hospital in self.hospitals.values():
            hospital.summarise()

    # ---- watching --------------------------------------------------------------------

    def _watch(self, effect: Logged | Applied, run: Run) -> None:
        if self.watch is not None:
            self.watch(self.keeper.snapshot(time.monotonic() - self.began))

    def coordinator_summary(self) -> CoordinatorSummary:
        """What the coordinator's process would write."""
        seconds = time.monotonic() - self.began
        return self.keeper.summary(seconds, self.bus.aggregating.lap())


def _unused_transport() -> tuple[bytes, bytes]:
    """In memory nobody connects; the roster still wants keys that differ."""
    return secrets.token_bytes(32), secrets.token_bytes(32)
