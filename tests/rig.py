"""A small federation in memory for tests of the protocol: real sessions, a real run, stand-ins for
the training.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from coordinator.keeper import Keeper
from coordinator.run import Run
from coordinator.store import Store
from federation import model
from federation.config import FederationConfig, Model, Protection, Rounds, validate
from federation.keys import generate
from federation.messages import Aggregate, Message
from federation.model import SharedModel
from federation.plan import Plan
from federation.records.events import Logged
from federation.records.state import RunProgress
from federation.roster import Roster
from federation.types import RunId
from hospital_node.durable import Durable
from hospital_node.keeper import Keeper as HospitalKeeper
from hospital_node.session import Session
from hospital_node.work import (
    BaselinesDone,
    Job,
    LearnerFacts,
    LocalTestDone,
    Trained,
    TrainingDone,
)
from simulation.run.memory import Fault, MemoryFederation, honest
from simulation.run.seeds import hospital_ids, own_secret
from simulation.run.storages import Unwritten

E = TypeVar("E", bound=Logged)
RUN = RunId(bytes(range(16)))
SHAPES = {"features.weight": (3, 4), "features.bias": (5,)}


def start_model(clip: float = 0.25) -> SharedModel:
    tensors = {
        name: np.linspace(-1, 1, int(np.prod(shape)), dtype=np.float32).reshape(shape)
        for name, shape in SHAPES.items()
    }
    return model.start(tensors, tuple(SHAPES), clip)


def config(
    protection: str = "masked", cohort: int = 3, rounds: int = 1, **changes: Any
) -> FederationConfig:
    """`changes`: keys of the tables `federation` and `protection`."""
    of_protection = {
        key: changes.pop(key) for key in list(changes) if key in Protection.__struct_fields__
    }
    return validate(
        FederationConfig(
            federation=Rounds(
                rounds=rounds,
                cohort=cohort,
                **{"min_cohort": min(3, cohort), "patience": 10.0} | changes,
            ),
            model=Model(classes=("a", "b"), start_digest="0" * 64),
            protection=Protection(kind=protection, **of_protection),
        )
    )


def counts_of(number: int) -> np.ndarray:
    """The confusion counts of this hospital's local tests."""
    return np.array([[1, 0], [0, number]], np.int64)


class StandIn:
    """`Work` without a learner: its update is a function of hospital and round.

    It remembers what it was asked to do. Its private layers are the list of rounds whose training
    is in them (`private`), and perhaps one whose is not yet (`pending`).
    """

    def __init__(self, number: int, update: Callable[[int, int], np.ndarray] | None = None) -> None:
        self.number = number
        self.update = update or default_update
        self.examples = 10 + number
        self.applied_rounds: list[int] = []
        self.counted: list[bool] = []
        self.trained: list[int] = []
        self.discarded = 0
        self.private: list[int] = []
        self.pending: int | None = None
        self.jobs: list[tuple[float, Job]] = []
        self.training_s = self.test_s = 0.0
        """How long they take."""

    def done(self, round_: int) -> Trained:
        """What its training of a round gives."""
        return Trained(self.update(self.number, round_), None, self.examples, steps=2)

    def reset(self, run: bytes) -> None:
        self.private, self.pending = [], None

    def train(self, shared: np.ndarray, run: bytes, round_: int) -> None:
        self.trained.append(round_)
        self.pending = round_
        self.jobs.append((self.training_s, lambda: TrainingDone(round_, self.done(round_))))

    def discard(self, round_: int) -> None:
        self.discarded += 1
        self.pending = None

    def adopt(self, shared: np.ndarray, counted: bool, round_: int) -> None:
        self.applied_rounds.append(round_)
        self.counted.append(counted)
        if counted and self.pending is not None:
            self.private.append(self.pending)
        self.pending = None
        self.jobs.append((self.test_s, lambda: LocalTestDone(round_, 0.7, counts_of(self.number))))

    def baselines(self, start: np.ndarray, run: bytes, rounds: int) -> None:
        found = {"majority": counts_of(self.number).tolist()}
        self.jobs.append((0.0, lambda: BaselinesDone(found)))

    def facts(self) -> LearnerFacts:
        return LearnerFacts([self.examples, 0], [1, 1], 0)

    def due(self) -> list[tuple[float, Job]]:
        due, self.jobs = self.jobs, []
        return due

    def restart(self) -> None:
        """Its process is another one: what it was to do is forgotten."""
        self.pending, self.jobs = None, []


class Deaths:
    """A fault: in round r hospital h sends the first `cases[r][h]` messages of `order` and dies (if
    all: when the aggregate comes).

    `sent` is what reached the coordinator. `rig` must be set before it plays; `raise_all` starts
    the dead again.
    """

    rig: Rig

    def __init__(
        self, order: Sequence[type[Message]], cases: Mapping[int, Mapping[int, int]]
    ) -> None:
        self.order, self.cases = tuple(order), cases
        self.dead: set[int] = set()
        self.sent: list[tuple[int, Message]] = []

    def __call__(
        self, who: int, direction: str, message: Message, now: float
    ) -> Iterable[tuple[float, Message]]:
        count = self.cases.get(getattr(message, "round", 0), {}).get(who)
        if count is not None:
            if (
                direction == "up"
                and type(message) in self.order
                and self.order.index(type(message)) >= count
            ):
                self.dead.add(who)
            elif isinstance(message, Aggregate) and count == len(self.order):
                self.rig.restart(who)
                return ()
        if who in self.dead:
            return ()
        if direction == "up":
            self.sent.append((who, message))
        return ((0.0, message),)

    def raise_all(self) -> None:
        """With what their disks remember."""
        back, self.dead = sorted(self.dead), set()
        for who in back:
            self.rig.restart(who)


def default_update(number: int, round_: int) -> np.ndarray:
    size = start_model().layout.size
    return np.random.default_rng([number, round_]).uniform(-0.3, 0.3, size).astype(np.float32)


class Rig:
    """`play` runs it; `sessions`, `keepers`, `stands`, `federation` are there to be looked at."""

    def __init__(
        self,
        config: FederationConfig,
        hospitals: int | None = None,
        fault: Fault = honest,
        update: Callable[[int, int], np.ndarray] | None = None,
        watch: Any = None,
        tap: Any = None,
        folder: Path | None = None,
    ) -> None:
        """With a `folder` there is a coordinator's keeper, which writes and records into it."""
        count = hospitals or config.federation.cohort
        names = hospital_ids(count)
        self.secrets = [
            generate(name, (bytes([1 + i, *range(31)]), bytes(32)), own_secret(0, name))
            for i, name in enumerate(names)
        ]
        hub = generate("coordinator", (bytes([0, *range(31)]), bytes(32)))
        self.config = config
        self.roster = Roster(
            hub.public("coordinator", "127.0.0.1:1"), [secret.public() for secret in self.secrets]
        )
        start = start_model(config.protection.clip)
        self.layout = start.layout
        self.sessions = {number: self.session(number) for number in range(count)}
        self.stands = {number: StandIn(number, update) for number in range(count)}
        self.keepers = {number: self.hospital_keeper(number) for number in range(count)}
        self.keeper: Keeper | None = None
        if folder is None:
            self.run = Run(config, self.roster, start.layout, RunProgress.of(RUN, config.digest))
        else:
            store, progress = Store(folder, config), RunProgress.of(RUN, config.digest)
            self.keeper = Keeper(config, self.roster, start, store, progress, record=True)
            self.run = self.keeper.run
        self.federation = MemoryFederation(
            config,
            start.layout,
            self.run,
            dict(self.keepers),
            fault,
            watch,
            tap,
            self.keeper,
        )

    def session(
        self, number: int, durable: Durable | None = None, shared: SharedModel | None = None
    ) -> Session:
        """A fresh process of this hospital, with what its disk remembers."""
        start = start_model(self.config.protection.clip)
        return Session(
            self.secrets[number],
            self.config,
            self.roster,
            start,
            shared or start_model(self.config.protection.clip),
            durable or Durable(),
            self.config.federation.min_cohort,
        )

    def hospital_keeper(self, number: int) -> HospitalKeeper[StandIn]:
        """Keeps the hospital's session; what it notes is in the federation's `notes`.

        It has tested before, so that every round has counts.
        """
        keeper = HospitalKeeper(
            self.sessions[number],
            self.stands[number],
            Unwritten(),
            share_metrics=True,
            note=lambda note: self.federation.notes.append((number, note)),
        )
        keeper.journal.confusion = counts_of(number)
        return keeper

    def plan(self, round_: int = 1) -> Plan:
        """What every party knows of this round."""
        return Plan(
            config=self.config, roster=self.roster, layout=self.layout, run=RUN, round=round_
        )

    def restart(self, number: int) -> None:
        """Kill the hospital's process and start it again."""
        old = self.sessions[number]
        self.sessions[number] = self.session(number, old.durable, old.shared)
        self.stands[number].restart()
        self.keepers[number] = self.hospital_keeper(number)
        self.federation.hospitals[number] = self.keepers[number]
        self.federation.dead.discard(number)
        self.federation.connect(number)

    def play(self, patiences: float = 20.0) -> Rig:
        """To the end of the run, or for so many times `patience` per round: a run that stands still
        fails, and does not hang.
        """
        settings = self.config.federation
        self.federation.play(patiences * settings.patience * settings.rounds)
        return self

    def events(self, kind: type[E]) -> list[E]:
        """What the coordinator recorded of this kind, in order."""
        return [event for event in self.federation.events if isinstance(event, kind)]

    def who(self, event: Any) -> int:
        """The number of the hospital that an event is about."""
        return self.run.ids.index(event.hospital)
