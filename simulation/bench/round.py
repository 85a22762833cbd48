"""`flop bench round`: one protected round beside a plain one, beyond training, all parties on one
core.

Real sessions and a real coordinator's run, in memory; only the training is a stand-in that has its
update ready. Times are CPU time.
"""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from coordinator.round import UPLOADS_AT_ONCE
from coordinator.run import Run
from federation import model as shared_model
from federation.config import FederationConfig, Model, Protection, Rounds, validate
from federation.effects import Applied
from federation.errors import ConfigError
from federation.keys import generate
from federation.layout import Vector
from federation.limits import vector_bytes
from federation.model import SharedModel
from federation.protections import UNPROTECTED, names
from federation.records.events import Logged, RoundBegun, RoundReported
from federation.records.state import RunProgress
from federation.roster import Roster
from hospital_node.durable import Durable
from hospital_node.keeper import Keeper
from hospital_node.session import Session
from hospital_node.work import Job, LearnerFacts, LocalTestDone, Trained, TrainingDone
from simulation.run.memory import MemoryFederation
from simulation.run.options import DEFAULT_BITS
from simulation.run.seeds import hospital_ids, own_secret
from simulation.run.storages import Unwritten

ROUNDS = 3
CLIP = 0.25


def run(
    model: str = "resnet18",
    cohort: int = 5,
    protection: str = "masked",
    bits: int | None = None,
    ring: int = 16,
) -> dict[str, Any]:
    """Play a few rounds under `protection`, and the same under `plain` with the same bits.

    Returns:
        `seconds`: median CPU time of a round with all hospitals and the coordinator on one core,
        without joining and the group key; `ratio` and `seconds_beyond_plain` compare both
        protections. `seconds_of`: the most that one hospital spends, and what the coordinator
        spends. `peak_extra_bytes`: the most memory that a party takes beyond what it holds when
        training ends (model, update), with what the transport holds for it: an aggregate at a
        hospital, as many uploads as are granted at once at the coordinator; None if the system
        does not say. `exact`: both ended at the same model, bit for bit.

    Raises:
        ConfigError: If the protection is `plain`, or the configuration is not valid.
    """
    if protection == UNPROTECTED:
        raise ConfigError(
            f"--protection {protection}: is what the others are compared with; choose"
            f" {' or '.join(name for name in names() if name != UNPROTECTED)}"
        )
    start = _start(model)
    size = start.layout.size
    update = np.random.default_rng(0).normal(0, 0.05, size).astype(np.float32)
    width = DEFAULT_BITS.get(ring, 12) if bits is None else bits
    compared = [protection, UNPROTECTED]
    found = {kind: _measure(_config(kind, cohort, width, ring), start, update) for kind in compared}
    ours, plain = found[protection], found[UNPROTECTED]
    return {
        "model": model,
        "params": size,
        "cohort": cohort,
        "protection": protection,
        "bits": width,
        "ring": ring,
        "threads": 1,
        "ratio": ours.seconds / plain.seconds,
        "seconds_beyond_plain": ours.seconds - plain.seconds,
        **ours.figures(),
        "plain": plain.figures(),
        "exact": ours.digests == plain.digests and len(ours.digests) == 1,
    }


# ---- one protection ------------------------------------------------------------------


@dataclass
class Party:
    """One party's CPU time and memory.

    `held`: bytes that its calls have kept; `peak`: the most beyond that during any call.
    """

    seconds: float = 0.0
    held: int = 0
    peak: int = 0

    def call(self, work: Callable[[], Any]) -> Any:
        before, began = _memory(reset=True), time.process_time()
        result = work()
        self.seconds += time.process_time() - began
        after = _memory()
        if before and after:
            self.peak = max(self.peak, self.held + after[1] - before[0])
            self.held = max(0, self.held + after[0] - before[0])
        return result


class Metered:
    """Another object whose calls are counted as a party's."""

    def __init__(self, target: Any, party: Party, calls: tuple[str, ...]) -> None:
        self._target, self._party, self._calls = target, party, calls

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._target, name)
        if name not in self._calls:
            return found
        return lambda *given, **named: self._party.call(lambda: found(*given, **named))


class Ready:
    """Work whose training is done before it begins, and whose tests find nothing."""

    def __init__(self, update: Vector) -> None:
        self.update = update
        self._jobs: list[tuple[float, Job]] = []

    def reset(self, run: bytes) -> None:
        """There are no private layers."""

    def train(self, shared: Vector, run: bytes, round_: int) -> None:
        trained = Trained(self.update, None, examples=100, steps=10)
        self._jobs.append((0.0, lambda: TrainingDone(round_, trained)))

    def discard(self, round_: int) -> None:
        """There are no private layers."""

    def adopt(self, shared: Vector, counted: bool, round_: int) -> None:
        self._jobs.append(
            (0.0, lambda: LocalTestDone(round_, math.nan, np.zeros((2, 2), np.int64)))
        )

    def baselines(self, start: Vector, run: bytes, rounds: int) -> None:
        """None are asked for."""

    def facts(self) -> LearnerFacts:
        return LearnerFacts([100, 0], [0, 0], 0)

    def due(self) -> list[tuple[float, Job]]:
        due, self._jobs = self._jobs, []
        return due


@dataclass
class Measured:
    config: FederationConfig
    size: tuple[int, int]
    coordinator: Party
    hospitals: list[Party]
    rounds: list[float] = field(default_factory=list)
    digests: set[bytes] = field(default_factory=set)

    @property
    def seconds(self) -> float:
        return statistics.median(self.rounds)

    def figures(self) -> dict[str, Any]:
        upload, download = self.size
        known = self.coordinator.peak > 0
        return {
            "seconds": self.seconds,
            "seconds_of": {
                "hospital": max(party.seconds for party in self.hospitals) / ROUNDS,
                "coordinator": self.coordinator.seconds / ROUNDS,
            },
            "peak_extra_bytes": {
                "hospital": (
                    max(party.peak for party in self.hospitals) + download if known else None
                ),
                "coordinator": self.coordinator.peak + UPLOADS_AT_ONCE * upload if known else None,
            },
            "upload_bytes": upload,
            "download_bytes": download,
        }


def _measure(config: FederationConfig, start: SharedModel, update: Vector) -> Measured:
    count, layout = config.federation.cohort, start.layout
    secrets = [
        generate(name, (own_secret(1, name), bytes(32)), own_secret(0, name))
        for name in hospital_ids(count)
    ]
    hub = generate("coordinator", (bytes(32), bytes(32)))
    roster = Roster(hub.public("coordinator", "127.0.0.1:1"), [one.public() for one in secrets])
    parties = [Party() for _ in range(count)]
    sessions = [
        Session(
            one, config, roster, start, SharedModel(layout, start.vector, start.clips), Durable(), 1
        )
        for one in secrets
    ]
    found = Measured(config, vector_bytes(config, layout), Party(), parties)
    began = 0.0

    def watch(effect: Logged | Applied, run: Run) -> None:
        nonlocal began
        if isinstance(effect, RoundBegun):
            began = time.process_time()
        elif isinstance(effect, RoundReported):
            found.rounds.append(time.process_time() - began)

    coordinator = Metered(
        Run(config, roster, layout, RunProgress.of(bytes(16), config.digest)),
        found.coordinator,
        ("receive", "tick"),
    )
    hospitals = {
        number: Keeper(
            Metered(session, party, ("receive", "trained", "report")),  # type: ignore[arg-type]
            Ready(update),
            Unwritten(),
        )
        for number, (session, party) in enumerate(zip(sessions, parties, strict=True))
    }
    MemoryFederation(config, layout, coordinator, hospitals, watch=watch).play()  # type: ignore[arg-type]
    found.digests = {session.shared.digest for session in sessions}
    return found


def _config(kind: str, cohort: int, bits: int, ring: int) -> FederationConfig:
    return validate(
        FederationConfig(
            federation=Rounds(rounds=ROUNDS, cohort=cohort, min_cohort=min(3, cohort)),
            model=Model(classes=("a", "b"), start_digest="0" * 64),
            protection=Protection(kind=kind, bits=bits, ring=ring, clip=CLIP),  # type: ignore[arg-type]
        ),
        "flop bench round",
    )


def _start(name: str) -> SharedModel:
    """Return the shared layers of a registered model, sized for grey images of 64 pixels.

    Raises:
        ConfigError: If there is no such model.
    """
    import torch

    from learning import models, private_layers

    try:
        with torch.device("meta"):
            network = models.build(name, channels=1, image_size=64, classes=2)
        shared = private_layers.choose(network, default=models.spec(name).private).shared
    except ValueError as error:
        raise ConfigError(f"--model {name}: {error}") from None
    shapes = {key: tuple(value.shape) for key, value in network.state_dict().items()}
    return shared_model.start(
        {key: np.zeros(shapes[key], np.float32) for key in shared}, shared, CLIP
    )


def _memory(reset: bool = False) -> tuple[int, int] | None:
    """Return (resident bytes, their peak since the last reset), None if there is no /proc."""
    try:
        if reset:
            Path("/proc/self/clear_refs").write_text("5")
        lines = dict(
            line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines()
        )
        return tuple(int(lines[key].split()[0]) * 1024 for key in ("VmRSS", "VmHWM"))  # type: ignore[return-value]
    except OSError:
        return None
