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
from federation.effects import Applied, Effect
from federation.keys import generate
from federation.messages import Aggregate, Message
from federation.model import SharedModel
from federation.plan import Plan
from federation.records.events import Logged
from federation.records.state import RunProgress
from federation.roster import Roster
from federation.types import RunId
from hospital_node.session import Session
from hospital_node.standing import Memory
from simulation.run.memory import Fault, MemoryFederation, honest
from simulation.run.seeds import hospital_ids, own_secret

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


class Stand:
    """Stands in for a learner: its update is a function of hospital and round; remembers what the
    session applied.

    Its private layers are the list of rounds whose training is in them (`private`), and perhaps one
    whose is not yet (`pending`).
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

    def reset(self, session: Session) -> None:
        self.private, self.pending = [], None

    def train(self, session: Session, round_: int) -> list[Effect]:
        self.trained.append(round_)
        self.pending = round_
        return session.trained(
            round_, self.update(self.number, round_), self.examples, 2, (1, 0, 0, self.number)
        )

    def discard(self) -> None:
        self.discarded += 1
        self.pending = None

    def applied(self, session: Session, effect: Applied) -> list[Effect]:
        self.applied_rounds.append(effect.round)
        self.counted.append(effect.counted)
        if effect.counted and self.pending is not None:
            self.private.append(self.pending)
        self.pending = None
        return session.report(0.5, share=True)


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
    """`play` runs it; `sessions`, `stands`, `federation` are there to be looked at."""

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
        self.stands = {number: Stand(number, update) for number in range(count)}
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
            {n: (self.sessions[n], self.stands[n]) for n in self.sessions},
            fault,
            watch,
            tap,
            self.keeper,
        )

    def session(
        self, number: int, memory: Memory | None = None, shared: SharedModel | None = None
    ) -> Session:
        """A fresh process of this hospital, with what its disk remembers."""
        start = start_model(self.config.protection.clip)
        return Session(
            self.secrets[number],
            self.config,
            self.roster,
            start,
            shared or start_model(self.config.protection.clip),
            memory or Memory(),
            self.config.federation.min_cohort,
        )

    def plan(self, round_: int = 1) -> Plan:
        """What every party knows of this round."""
        return Plan(
            config=self.config, roster=self.roster, layout=self.layout, run=RUN, round=round_
        )

    def restart(self, number: int) -> None:
        """Kill the hospital's process and start it again."""
        old = self.sessions[number]
        self.sessions[number] = self.session(number, old.memory, old.shared)
        self.federation.hospitals[number] = (self.sessions[number], self.stands[number])
        self.stands[number].pending = None
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
