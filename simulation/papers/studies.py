"""What a study is: a grid of runs at each of three scales. The papers' studies themselves are in
declared.py.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from federation.errors import ConfigError
from simulation.run.options import Options

PAPERS = {
    "flop": (
        "Yang et al. 2021, FLOP: Federated Learning on Medical Datasets using Partial Networks"
        " (KDD)"
    ),
    "fedavg": (
        "Liu et al. 2020, Experiments of Federated Learning for COVID-19 Chest X-ray Images"
        " (arXiv 2007.05592)"
    ),
}
SCALES = ("smoke", "cpu", "full")
FORMAT = 1  # of a run's result; a new one makes every run train again


@dataclass(frozen=True)
class Scale:
    """One size of a study.

    `images` is how many of the training folder's are used (0: all), class by class, groups whole.
    `epochs` are those of a hospital in one round. `note` says how it differs from the paper's size.
    """

    data: str
    image_size: int
    models: tuple[str, ...]
    rounds: int
    epochs: int
    batch_size: int
    lr: float
    seeds: tuple[int, ...]
    hospitals: int = 5
    cohort: int = 2
    images: int = 0
    note: str = ""


@dataclass(frozen=True)
class Study:
    """A grid of trainings, at each of three scales.

    Attributes:
        paper: Whose tables and figures it repeats, a key of `PAPERS`.
        frameworks: The algorithms that are compared.
        partition: How images are divided over hospitals, as for `flop sim --partition`.
        test_fraction: The share of a hospital's images that is held out.
        optimizer: Keys of `[training]` besides the learning rate.
        differs: How our data differs from the paper's.
        ours: What the paper leaves open, as we chose it.
        maps: Whether Grad-CAM++ is drawn.
    """

    name: str
    title: str
    paper: str
    frameworks: tuple[str, ...]
    partition: str
    test_fraction: float
    optimizer: dict[str, Any]
    differs: str
    ours: tuple[str, ...]
    scales: dict[str, Scale]
    maps: bool = False


@dataclass(frozen=True)
class StudyRun:
    """One training: everything that its result follows from."""

    study: str
    scale: str
    framework: str
    model: str
    seed: int
    data: str
    images: int
    image_size: int
    hospitals: int
    cohort: int
    rounds: int
    epochs: int
    batch_size: int
    lr: float
    optimizer: str
    weight_decay: float
    momentum: float
    partition: str
    test_fraction: float
    maps: bool

    @property
    def name(self) -> str:
        return f"{self.framework}-{self.model}-seed{self.seed}"

    @property
    def digest(self) -> str:
        return hashlib.sha256(
            json.dumps([FORMAT, asdict(self)], sort_keys=True).encode()
        ).hexdigest()[:16]

    def options(self, out: Path) -> Options:
        """The options of `flop sim` for this training, which writes into `out`.

        `min_cohort` is the paper's cohort of two, which the product's default refuses.
        """
        return Options.of(
            data=self.data,
            image_size=self.image_size,
            model=self.model,
            algorithm=self.framework,
            protection="plain",
            bits=0,
            hospitals=self.hospitals,
            cohort=self.cohort,
            min_cohort=self.cohort,
            rounds=self.rounds,
            local_epochs=self.epochs,
            batch_size=self.batch_size,
            lr=self.lr,
            optimizer=self.optimizer,
            partition=self.partition,
            transport="memory",
            seed=self.seed,
            baselines=False,
            test_fraction=self.test_fraction,
            out=out,
            set=(
                f"training.weight_decay={self.weight_decay}",
                f"training.momentum={self.momentum}",
            ),
        )


def runs(study: Study, scale: str, seeds: Sequence[int] | None = None) -> list[StudyRun]:
    """All trainings of a study, seed by seed: a grid that is stopped early has whole columns.

    Raises:
        ConfigError: If there is no such scale, or a seed is negative.
    """
    if scale not in study.scales:
        raise ConfigError(f"--scale {scale}: choose {', '.join(study.scales)}")
    size = study.scales[scale]
    wanted = tuple(seeds) if seeds else size.seeds
    if any(not 0 <= seed < 2**63 for seed in wanted):
        raise ConfigError("--seeds: whole numbers from 0")
    optimizer = {"weight_decay": 0.0, "momentum": 0.0} | study.optimizer
    return [
        StudyRun(
            study=study.name,
            scale=scale,
            framework=framework,
            model=model,
            seed=seed,
            data=size.data,
            images=size.images,
            image_size=size.image_size,
            hospitals=size.hospitals,
            cohort=size.cohort,
            rounds=size.rounds,
            epochs=size.epochs,
            batch_size=size.batch_size,
            lr=size.lr,
            partition=study.partition,
            test_fraction=study.test_fraction,
            maps=study.maps,
            **optimizer,
        )
        for seed in wanted
        for model in size.models
        for framework in study.frameworks
    ]
