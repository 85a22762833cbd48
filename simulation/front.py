"""`flop.Federation`: a whole federation from Python, with own arrays and an own module if wanted.

What `flop sim` writes is written here too, and `Run` reads it: a run directory is all that a `Run`
knows, whether it has just been made or is loaded by `flop.load_run`.
"""

from __future__ import annotations

import copy
import html
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from safetensors.numpy import load_file
from torch import nn

from federation import model as shared_model
from federation.errors import ConfigError
from federation.records.state import Status
from hospital_node.local_data import data_root
from learning import models, parameters, private_layers, randomness
from learning.data import Dataset, open_dataset
from simulation.run.options import Options
from simulation.run.simulate import simulate


class Round(NamedTuple):
    """What `on_round` is called with: the round, of how many, and the mean local test accuracy."""

    round: int
    rounds: int
    accuracy: float


OnRound = Callable[[Round], object]


class Federation:
    """A federation on this machine, ready to run: as many rounds and hospitals as you like.

    Args:
        data: A data set: `flop.arrays(...)`, a folder's path, a name under FLOP_DATA, or
            "phantom-cxr".
        model: A name of `flop models`, or a `torch.nn.Module` of yours that takes float images
            (B, C, H, W), normalised by `(x - 0.5) / 0.25`, to (B, classes) logits. Its shared
            layers start with the weights that they have; its private layers are drawn afresh.
        private: Name patterns of the layers that stay in the hospitals, e.g. "head.*".
        private_last: Instead: how many of the last layers stay. If neither is given, a module of
            yours keeps its last layer, and a named model its classifier.
        **options: All other options of `flop sim` by their names: hospitals=5, rounds=5,
            protection="masked", algorithm="flop", partition="iid", record=True, out="runs/mine".
            The transport is "memory" if none is given: one process, and the same bytes as "zmq".

    Raises:
        ConfigError: If an option is unknown or its value makes no sense; one sentence.

    Example:
        >>> import flop
        >>> federation = flop.Federation("phantom-cxr:60", image_size=28, hospitals=3, rounds=1)
        >>> federation
        <Federation of cnn3 on phantom-cxr:60, 3 hospitals, 1 rounds>
    """

    def __init__(
        self,
        data: Dataset | str | Path = "phantom-cxr",
        model: str | nn.Module = "cnn3",
        *,
        private: str | Sequence[str] | None = None,
        private_last: int | None = None,
        **options: Any,
    ) -> None:
        self.module = model if isinstance(model, nn.Module) else None
        self.dataset: Dataset | None = None
        given: dict[str, Any] = {"transport": "memory", "out": _new_folder(), **options}
        given["data"] = data.name if isinstance(data, Dataset) else str(data)
        if isinstance(data, Dataset):
            side = given.setdefault("image_size", data.image_size)
            self.dataset = data.resized(side)
        if self.module is not None and private is None and private_last is None:
            private_last = 1 if given.get("algorithm", "flop") == "flop" else None
        given["model"] = models.OWN if self.module is not None else model
        given["private"] = [private] if isinstance(private, str) else private
        given["private_last"] = private_last
        self.options = Options.of(**given)
        mine = self.module is not None or self.dataset is not None
        if self.options.transport != "memory" and mine:
            what = "module" if self.module is not None else "arrays"
            raise ConfigError(
                f"transport={self.options.transport!r} starts other processes, which do not have"
                f' your {what}; leave it out, or give transport="memory"'
            )

    def run(self, on_round: OnRound | None = None) -> Run:
        """Run all rounds and write the run directory. May be called in any thread.

        Args:
            on_round: Called after every round, e.g. `print`.

        Returns:
            The finished run.

        Raises:
            ConfigError: If the options, the data and the model do not fit each other.
            DataError: If the data cannot be read.
        """
        told = 0

        def watch(now: Status) -> None:
            nonlocal told
            if on_round is not None and now.completed > told and now.accuracy is not None:
                told = now.completed
                on_round(Round(told, now.rounds, now.accuracy))

        if self.module is None:
            simulate(self.options, watch=watch, dataset=self.dataset)
        else:
            dataset = self.dataset or self._opened()
            with models.own(self.module):
                _check_module(self.module, dataset, self.options)
                simulate(self.options, watch=watch, dataset=dataset)
        return Run(self.options.out, self.module)

    def __repr__(self) -> str:
        name = type(self.module).__name__ if self.module is not None else self.options.model
        return (
            f"<Federation of {name} on {self.options.data}, {self.options.hospitals} hospitals,"
            f" {self.options.rounds} rounds>"
        )

    def _opened(self) -> Dataset:
        return open_dataset(
            self.options.data,
            image_size=self.options.agreed.model.image_size,
            seed=self.options.seed,
            root=data_root(),
        )


@dataclass(frozen=True)
class Hospital:
    """One hospital of a finished run, as only this hospital and a simulation may see it."""

    id: str
    folder: Path

    @property
    def summary(self) -> dict[str, Any]:
        """The hospital's summary.json."""
        return _json(self.folder / "summary.json")

    @property
    def accuracy(self) -> float | None:
        """The last local test's accuracy, in [0, 1]; None if it has no image to test on."""
        found: float | None = self.summary["local_test"]["accuracy"]
        return found

    @property
    def private(self) -> dict[str, np.ndarray]:
        """The layers that never left this hospital: float32 arrays by their names."""
        path = self.folder / "private.safetensors"
        return dict(load_file(path)) if path.exists() else {}

    @property
    def rounds(self) -> list[dict[str, Any]]:
        """One line for each round: train_loss, accuracy, and so on."""
        return _lines(self.folder / "metrics.jsonl")


class Run:
    """A finished run: everything is read from its directory.

    Attributes:
        folder: The run directory; `report.html` in it is for people.

    Example:
        >>> import flop
        >>> run = flop.Federation("phantom-cxr:60", image_size=28, hospitals=3, rounds=1).run()
        >>> len(run.hospitals), sorted(run.shared)[0], 0 <= run.accuracy <= 1
        (3, 'body.0.bias', True)
    """

    def __init__(self, folder: Path, module: nn.Module | None = None) -> None:
        self.folder, self.module = folder, module
        if not (folder / "summary.json").is_file():
            raise ConfigError(
                f"{folder}: is not the directory of a finished run; it has no summary.json"
            )

    @property
    def summary(self) -> dict[str, Any]:
        """summary.json: figures, baselines, bytes, seconds; `flop schema` describes it."""
        return _json(self.folder / "summary.json")

    @property
    def accuracy(self) -> float | None:
        """The mean local test accuracy of the hospitals, in [0, 1]; None without test images."""
        found: float | None = self.summary["local_test"]["accuracy"]
        return found

    @property
    def rounds(self) -> list[dict[str, Any]]:
        """One line for each round, the means over the hospitals: metrics.jsonl."""
        return _lines(self.folder / "metrics.jsonl")

    @property
    def shared(self) -> dict[str, np.ndarray]:
        """The shared layers after the last round: float32 arrays by their names.

        Empty if nothing was shared (algorithm local or central).
        """
        path = self.folder / "shared.safetensors"
        if not path.exists():
            return {}
        found = shared_model.read(path)
        return {name: array.copy() for name, array in found.layout.unflatten(found.vector).items()}

    @property
    def hospitals(self) -> list[Hospital]:
        """The hospitals, in the order of their numbers."""
        return [Hospital(one, self.folder / "hospitals" / one) for one in self._ids()]

    def _ids(self) -> list[str]:
        found: dict[str, float | None] = self.summary["local_test"]["per_hospital"]
        return list(found)

    def _facts(self) -> dict[str, str]:
        summary = self.summary
        name = type(self.module).__name__ if self.module is not None else summary["model"]
        accuracy = "no test images" if self.accuracy is None else f"{100 * self.accuracy:.1f} %"
        return {
            "model": f"{name} on {summary['dataset']}",
            "algorithm": f"{summary['algorithm']}, {summary['protection']}",
            "hospitals": str(len(self.hospitals)),
            "rounds": str(summary["rounds_completed"]),
            "mean local test accuracy": accuracy,
            "directory": str(self.folder),
        }

    def __repr__(self) -> str:
        facts = self._facts()
        return (
            f"<Run of {facts['model']}, {facts['algorithm']}: {facts['hospitals']} hospitals,"
            f" {facts['rounds']} rounds, accuracy {facts['mean local test accuracy']};"
            f" {self.folder}>"
        )

    def _repr_html_(self) -> str:
        """What a notebook shows of it."""
        facts = self._facts() | {
            one.id: "no test images" if one.accuracy is None else f"{100 * one.accuracy:.1f} %"
            for one in self.hospitals
        }
        rows = "".join(
            f"<tr><th>{html.escape(name)}</th><td>{html.escape(value)}</td></tr>"
            for name, value in facts.items()
        )
        return f"<table>{rows}</table>"


def _check_module(module: nn.Module, dataset: Dataset, options: Options) -> None:
    """Refuse a module that cannot be federated. Raises ConfigError: what is wrong with it."""
    trial = copy.deepcopy(module).cpu().eval()
    size, classes = dataset.image_size, len(dataset.classes)
    odd = [name for name, value in trial.named_parameters() if value.dtype != torch.float32]
    if odd:
        raise ConfigError(f"model: {odd[0]} is not float32; convert the module with .float()")
    try:
        with torch.no_grad(), randomness.unseeded():
            logits = trial(torch.zeros(2, dataset.channels, size, size))
    except (RuntimeError, ValueError, TypeError, IndexError) as error:
        raise ConfigError(
            f"model: the module cannot take images of shape (B, {dataset.channels}, {size},"
            f" {size}): {error}"
        ) from None
    shape = tuple(getattr(logits, "shape", ()))
    if shape != (2, classes):
        raise ConfigError(
            f"model: the module gives {shape or type(logits).__name__} for two images; it must give"
            f" logits of the shape (2, {classes}), one for each class"
        )
    try:
        chosen = private_layers.choose(
            trial,
            options.agreed.model.private or None,
            options.private_last,
            algorithm=options.algorithm,
        )
        parameters.reinitialise(
            trial, [n for n in chosen.private if n in dict(trial.named_parameters())], 0
        )
    except ValueError as error:
        raise ConfigError(f"model: {error}") from None


def _new_folder() -> Path:
    """A folder of its own for each run, as `flop sim` names them."""
    base = Path("runs") / time.strftime("%Y%m%d-%H%M%S")
    found, number = base, 2
    while found.exists():
        found, number = base.with_name(f"{base.name}-{number}"), number + 1
    return found


def _json(path: Path) -> dict[str, Any]:
    return dict(json.loads(path.read_text()))


def _lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
