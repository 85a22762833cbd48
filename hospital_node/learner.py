"""One hospital's model: shared layers from the federation, private layers of its own, trained and
tested on its own images.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from msgspec import structs

from federation.config import FederationConfig
from federation.errors import ConfigError
from federation.keys import private_randomness
from federation.layout import Layout, Vector
from hospital_node.work import LearnerFacts, Trained
from learning import baselines, distributed, models, parameters, private_layers
from learning.data import LocalData
from learning.evaluation import Scores, evaluate
from learning.models.classifier import Classifier
from learning.training import TrainSettings

ROOM = 4096
"""Elements behind an update, so that its counts can be coded behind it in place."""

Stop = Callable[[], bool]
Progress = Callable[[int, int], None]


class Learner:
    """Not safe between threads: its service gives it one job at a time."""

    def __init__(
        self,
        config: FederationConfig,
        layout: Layout,
        own_secret: bytes,
        data: LocalData,
        devices: Sequence[torch.device],
        model: Classifier | None = None,
    ) -> None:
        """`devices` train together, and the first one tests. `model`: a network of this config that
        the hospitals of one process take in turn; every use begins by loading it.
        """
        self.config, self.layout, self.data = config, layout, data
        self.devices, self.device = tuple(devices), devices[0]
        self._secret = own_secret
        self.classes = len(config.model.classes)
        agreed = config.model
        try:
            self.model = model or models.build(
                agreed.name,
                channels=agreed.channels,
                image_size=agreed.image_size,
                classes=self.classes,
            )
            self.split = private_layers.choose(
                self.model,
                agreed.private or None,
                algorithm=config.federation.algorithm,
                default=models.spec(agreed.name).private,
                buffers=agreed.buffers,
            )
        except ValueError as error:
            raise ConfigError(f"federation.toml: model: {error}") from None
        if self.split.shared != layout.names:
            raise ConfigError(
                "federation.toml: model: the start file holds other layers than the model shares;"
                " copy both files again"
            )
        settings = TrainSettings(**structs.asdict(config.training))
        held = self.split.shared if settings.proximal_mu else None
        try:
            self.trainer = distributed.trainer(self.model, settings, devices, proximal=held)
        except ValueError as error:
            raise ConfigError(f"training on several devices: {error}") from None
        self.private: dict[str, np.ndarray] = {}
        self._candidate: dict[str, np.ndarray] | None = None

    def _seed(self, *what: str | int | bytes) -> int:
        """63 bits from this hospital's own secret: nobody else can repeat its head's start or its
        shuffling.
        """
        return (
            int.from_bytes(private_randomness(self._secret, "learner", *what, length=8), "big") >> 1
        )

    # ---- the private part ------------------------------------------------------------

    def reset(self, run: bytes) -> None:
        """A new run: private layers start from this hospital's secret."""
        parameters.reinitialise(self.model, self.split.private, self._seed("head", run))
        self.private, self._candidate = parameters.to_numpy(self.model, self.split.private), None

    def load_private(self, tensors: dict[str, np.ndarray], source: str) -> None:
        """Load the private layers that `source` held. Raises ConfigError if they do not fit."""
        try:
            parameters.load(self.model, tensors)
        # the file is ours; whatever is wrong with it, the operator must hear of it
        except Exception as error:
            raise ConfigError(
                f"{source}: does not fit this model ({error}); move it away to start afresh"
            ) from None
        self.private = tensors

    # ---- rounds ----------------------------------------------------------------------

    def train(
        self,
        shared: Vector,
        run: bytes,
        round_: int,
        progress: Progress | None = None,
        stop: Stop | None = None,
    ) -> Trained | None:
        """Train both parts for one round from the shared vector.

        Args:
            shared: float32[d], the shared layers that all hospitals start the round from.
            run: The run's id, and
            round_: the round: with this hospital's secret they fix the order of the images.
            progress: Is told (steps made, steps in all) after every batch.
            stop: Is asked before every batch.

        Returns:
            None if `stop` ended it. The private changes wait for `adopt` or `discard`.
        """
        self._put(shared)
        stats = self.trainer.train(
            self.data.images,
            self.data.labels,
            rows=self.data.train,
            seed=self._seed("shuffle", run, round_),
            progress=progress,
            stop=stop,
        )
        self._candidate = None
        if stats.stopped:
            return None
        self._candidate = parameters.to_numpy(self.model, self.split.private)
        memory = np.empty(len(shared) + ROOM, np.float32)
        update = memory[: len(shared)]
        self._subtract(shared, update)
        return Trained(update, memory, stats.examples, stats.steps, stats.loss, stats.seconds)

    def _subtract(self, shared: Vector, update: Vector) -> None:
        """Put local − global into `update`, tensor by tensor, so that no second vector is made."""
        state, at = self.model.state_dict(), 0
        for name, length in zip(self.layout.names, self.layout.lengths, strict=True):
            here = slice(at, at + length)
            local = state[name].detach().to("cpu", torch.float32).numpy().reshape(-1)
            np.subtract(local, shared[here], out=update[here])
            at += length

    def adopt(self, shared: Vector, counted: bool) -> None:
        """Take the shared layers after a round.

        Args:
            shared: float32[d].
            counted: Whether this hospital's update is in them: its private changes are then kept.
        """
        if counted and self._candidate is not None:
            self.private = self._candidate
        self._candidate = None
        self._put(shared)

    def discard(self) -> None:
        """The round came to nothing: private layers are what they were before it."""
        self._candidate = None

    def _put(self, shared: Vector) -> None:
        parameters.load(self.model, self.layout.unflatten(shared))
        parameters.load(self.model, self.private)

    def test(self, progress: Progress | None = None) -> Scores:
        """The local test of the model as `adopt` left it."""
        return evaluate(
            self.model,
            self.data.images,
            self.data.labels,
            self.classes,
            self.device,
            rows=self.data.test,
            progress=progress,
        )

    def facts(self) -> LearnerFacts:
        """What this hospital's summary says of its images and its model."""
        train, test = self.data.class_counts(self.classes)
        return LearnerFacts(
            train,
            test,
            int(sum(tensor.size for tensor in self.private.values())),
            tuple(self.data.skipped),
            tuple(self.data.notes),
            ", ".join(map(str, self.devices)),
        )

    # ---- baselines -------------------------------------------------------------------

    def baselines(
        self, start: Vector, run: bytes, rounds: int, stop: Stop | None = None
    ) -> dict[str, list[list[int]]]:
        """Confusion matrices of the local test: majority class, linear model, and training alone
        for as long as the federation did.
        """
        images, labels, train, test = (
            self.data.images,
            self.data.labels,
            self.data.train,
            self.data.test,
        )
        found = {
            "majority": baselines.majority(labels[train], labels[test], self.classes),
            "linear": baselines.linear(
                images[train], labels[train], images[test], labels[test], self.classes
            ),
        }
        kept = self.private
        parameters.reinitialise(self.model, self.split.private, self._seed("head", run))
        parameters.load(self.model, self.layout.unflatten(start))
        stopped = False
        for round_ in range(1, rounds + 1):
            stopped = (
                stopped
                or self.trainer.train(
                    images, labels, rows=train, seed=self._seed("shuffle", run, round_), stop=stop
                ).stopped
            )
        if not stopped:
            found["local"] = self.test().confusion
        self.private = kept
        return {name: matrix.tolist() for name, matrix in found.items()}
