"""What one hospital keeps on disk, to go on after a SIGKILL and to be looked at afterwards.

memory.json            `Durable`: written before a round is answered
shared.safetensors     the shared model, with its round and clips
private.safetensors    this hospital's private layers
metrics.jsonl          one line a round
config.toml, summary.json
lock                   held by the process that works here
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load, save

from federation import config as federation_config
from federation import model
from federation.config import FederationConfig
from federation.errors import ConfigError
from federation.files import write_whole
from federation.layout import Layout
from federation.model import SharedModel
from federation.records import files
from federation.records.state import HospitalProgress
from federation.records.summary import HospitalSummary, MetricsLine
from hospital_node.durable import Durable

try:
    import fcntl
except ImportError:
    fcntl = None  # type: ignore[assignment]


def _locked(file: IO[str]) -> bool:
    """Take the lock, and return whether it is ours now.

    The system takes it back when the file is closed, or the process is killed.
    """
    if fcntl is None:  # Windows: nothing watches there
        return True
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def in_use(folder: Path) -> bool:
    """Return True if a process works in this hospital's folder now. Changes nothing there."""
    if not (folder / "lock").exists():
        return False
    with (folder / "lock").open() as file:
        return not _locked(file)


class Storage:
    """One folder, one hospital, one process at a time."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    @property
    def private(self) -> Path:
        return self.folder / "private.safetensors"

    @property
    def shared(self) -> Path:
        return self.folder / "shared.safetensors"

    @property
    def error_log(self) -> Path:
        return self.folder / "error.log"

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep other processes out of this folder for as long as the context lasts.

        Raises:
            ConfigError: If another process works here.
        """
        with (self.folder / "lock").open("a") as file:
            if not _locked(file):
                raise ConfigError(f"{self.folder}: another `flop node` works here; stop it first")
            yield

    # ---- what outlives the process ---------------------------------------------------

    def read_durable(self) -> Durable:
        """Return what an earlier process wrote; a new record if there was none.

        Raises:
            ConfigError: If the file is damaged.
        """
        path = self.folder / "memory.json"
        if not path.exists():
            return Durable()
        try:
            found = files.read(path, HospitalProgress)
            run = bytes.fromhex(found.run)
            past = [bytes.fromhex(one) for one in found.past_runs]
        except (ConfigError, ValueError):
            raise ConfigError(
                f"{path}: is damaged; without it a round could be answered twice. Move"
                f" {self.folder} away"
            ) from None
        return Durable(run, past, found.answered, found.least_epoch)

    def write_durable(self, durable: Durable) -> None:
        """Write memory.json; it is on the disk when this returns."""
        content = HospitalProgress(
            run=durable.run.hex(),
            past_runs=[run.hex() for run in durable.past_runs],
            answered=durable.answered,
            least_epoch=durable.least_epoch,
        )
        files.write(self.folder / "memory.json", content, durable=True)

    def read_shared(self, layout: Layout) -> SharedModel | None:
        """Return the shared model as it was last written; None if there is none.

        Raises:
            ConfigError: If the file is damaged, or belongs to a model of another layout.
        """
        if not self.shared.exists():
            return None
        found = model.read(self.shared)
        if found.layout != layout:
            raise ConfigError(
                f"{self.shared}: belongs to another model; move {self.folder} away to start afresh"
            )
        return found

    def write_shared(self, shared: SharedModel) -> None:
        """Write shared.safetensors; it is on the disk when this returns."""
        shared.save(self.shared)

    def read_private(self) -> dict[str, NDArray[np.float32]] | None:
        """Return this hospital's private layers by name; None if there are none.

        Raises:
            ConfigError: If the file is damaged.
        """
        if not self.private.exists():
            return None
        try:
            return load(self.private.read_bytes())
        except (OSError, SafetensorError) as error:
            raise ConfigError(
                f"{self.private}: cannot be read ({error}); move it away to start afresh"
            ) from None

    def write_private(self, tensors: dict[str, NDArray[np.float32]]) -> None:
        """Write private.safetensors; it is on the disk when this returns."""
        write_whole(self.private, save(tensors), durable=True)

    # ---- a run's results -------------------------------------------------------------

    def begin_run(self, durable: Durable, config: FederationConfig) -> None:
        """Put an earlier run's results aside, in `earlier/`, and write this run's config.toml."""
        earlier = [
            self.folder / name
            for name in (
                "metrics.jsonl",
                "summary.json",
                "shared.safetensors",
                "private.safetensors",
            )
        ]
        if durable.past_runs and any(path.exists() for path in earlier):
            aside = self.folder / "earlier" / durable.past_runs[-1].hex()[:12]
            aside.mkdir(parents=True, exist_ok=True)
            for path in earlier:
                if path.exists():
                    path.replace(aside / path.name)
        (self.folder / "config.toml").write_text(federation_config.to_toml(config))
        self.write_durable(durable)

    def add_metrics(self, line: MetricsLine) -> None:
        """Append a round's line to metrics.jsonl."""
        files.append(self.folder / "metrics.jsonl", line)

    def metrics(self) -> list[MetricsLine]:
        """Return the lines of metrics.jsonl. Raises ConfigError if one is damaged."""
        return files.read_lines(self.folder / "metrics.jsonl", MetricsLine)

    def finished(self, run: bytes) -> bool:
        """Return True if the summary in this folder says that `run` is over."""
        try:
            summary = files.read(self.folder / "summary.json", HospitalSummary)
        except ConfigError:  # there is none, or it is damaged: then the run is not known to be over
            return False
        return bool(run) and summary.run == run.hex() and summary.finished

    def write_summary(self, summary: HospitalSummary) -> None:
        """Write summary.json; it is on the disk when this returns."""
        files.write(self.folder / "summary.json", summary, durable=True)
