"""What a hospital's keeper asks a learner to do, and what comes back.

The keeper asks and goes on; whoever owns the work hands the results to `Keeper.finished`: the
service has a thread for it (`worker.py`), the simulation does it when the bus comes to it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from federation.layout import Vector

Confusion = NDArray[np.int64]
"""Counts (C, C): rows are true classes, columns are predicted ones."""


@dataclass(frozen=True)
class Trained:
    """One round's local training.

    Attributes:
        update: float32[d], local − global over the shared layers.
        memory: The array whose beginning `update` is, with room behind it for coding in place; None
            if there is no room.
        examples: Images in the training set.
        steps: Optimiser steps made.
        loss: Mean over the images seen; nan if there were none.
        seconds: Wall-clock time of the training.
    """

    update: Vector
    memory: Vector | None
    examples: int
    steps: int
    loss: float = float("nan")
    seconds: float = 0.0


@dataclass(frozen=True)
class TrainingDone:
    """The training of `round`."""

    round: int
    trained: Trained


@dataclass(frozen=True)
class LocalTestDone:
    """The local test of the model as of `round`; `loss` is nan if there is nothing to test on."""

    round: int
    loss: float
    confusion: Confusion


@dataclass(frozen=True)
class BaselinesDone:
    """The local test of each baseline, by its name."""

    confusions: dict[str, list[list[int]]]


@dataclass(frozen=True)
class Failed:
    """A request of `round` ended with `error`; `trace` is for error.log."""

    round: int
    error: Exception
    trace: str


Result = TrainingDone | LocalTestDone | BaselinesDone | Failed
Job = Callable[[], Result | None]
"""Does one request; None if there is nothing to report."""


@dataclass(frozen=True)
class LearnerFacts:
    """What a hospital's summary says of its data and its model.

    Attributes:
        train_examples: Images of each class to train on.
        test_examples: Images of each class to test on.
        private_parameters: How many numbers the private layers hold.
        skipped: A sentence for each image that could not be used.
        notes: Sentences about how a simulation divided the data.
        device: Where the model is trained; several with commas between.
    """

    train_examples: list[int]
    test_examples: list[int]
    private_parameters: int
    skipped: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    device: str = "cpu"


class Work(Protocol):
    """Requests are done one after the other, in the order in which they were made."""

    def reset(self, run: bytes) -> None:
        """A new run begins: private layers start again."""

    def train(self, shared: Vector, run: bytes, round_: int) -> None:
        """Train one round from the shared vector. Gives `TrainingDone`, unless it is discarded."""

    def discard(self, round_: int) -> None:
        """Stop this round's training and forget what it did to the private layers."""

    def adopt(self, shared: Vector, counted: bool, round_: int) -> None:
        """Take the shared layers, keep private changes if `counted`, test: `LocalTestDone`."""

    def baselines(self, start: Vector, run: bytes, rounds: int) -> None:
        """Compute what the federation is compared with. Gives `BaselinesDone`."""

    def facts(self) -> LearnerFacts:
        """What a summary says of the learner."""
