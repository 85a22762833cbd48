"""What one hospital keeps on disk: enough to go on after a SIGKILL, and what a person looks at
afterwards.

    memory.json            the run, runs before it, the last round answered: written before a round is answered
    shared.safetensors     the shared model, with its round and clips
    private.safetensors    this hospital's private layers
    metrics.jsonl          one line a round
    config.toml, summary.json
    lock                   held by the process that works here
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from federation import config as federation_config
from federation import model
from federation.config import FederationConfig
from federation.errors import ConfigError
from federation.files import write_whole
from federation.layout import Layout
from federation.model import SharedModel
from federation.records import files
from federation.records.summary import HospitalSummary, MetricsLine
from hospital_node.standing import Memory

try:
    import fcntl
except ImportError:
    fcntl = None  # type: ignore[assignment]


def _locked(file: IO[str]) -> bool:
    """Whether the lock is ours now; the system takes it back when the file is closed, or the
    process is killed.
    """
    if fcntl is None:  # Windows: nothing watches there
        return True
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def in_use(folder: Path) -> bool:
    """Whether a process works in this hospital's folder now. Makes nothing there."""
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

    @contextmanager
    def alone(self) -> Iterator[None]:
        """While this lasts no other process works in this folder. Raises ConfigError where one
        does.
        """
        with (self.folder / "lock").open("a") as file:
            if not _locked(file):
                raise ConfigError(f"{self.folder}: another `flop node` works here; stop it first")
            yield

    def read_memory(self) -> Memory:
        """What is remembered, or nothing. Raises ConfigError where it cannot be read."""
        path = self.folder / "memory.json"
        if not path.exists():
            return Memory()
        try:
            found = json.loads(path.read_text())
            past = [bytes.fromhex(run) for run in found["past_runs"]]
            return Memory(
                bytes.fromhex(found["run"]), past, int(found["answered"]), int(found["least_epoch"])
            )
        except (ValueError, KeyError, TypeError):
            raise ConfigError(
                f"{path}: is damaged; without it a round could be answered twice. Move"
                f" {self.folder} away"
            ) from None

    def write_memory(self, memory: Memory) -> None:
        """On the disk when this returns."""
        content = {
            "run": memory.run.hex(),
            "past_runs": [run.hex() for run in memory.past_runs],
            "answered": memory.answered,
            "least_epoch": memory.least_epoch,
        }
        write_whole(self.folder / "memory.json", json.dumps(content), durable=True)

    def read_shared(self, layout: Layout) -> SharedModel | None:
        if not self.shared.exists():
            return None
        found = model.read(self.shared)
        if found.layout != layout:
            raise ConfigError(
                f"{self.shared}: belongs to another model; move {self.folder} away to start afresh"
            )
        return found

    def begin_run(self, memory: Memory, config: FederationConfig) -> None:
        """Put an earlier run's results aside and begin afresh."""
        earlier = [
            self.folder / name
            for name in (
                "metrics.jsonl",
                "summary.json",
                "shared.safetensors",
                "private.safetensors",
            )
        ]
        if memory.past_runs and any(path.exists() for path in earlier):
            aside = self.folder / "earlier" / memory.past_runs[-1].hex()[:12]
            aside.mkdir(parents=True, exist_ok=True)
            for path in earlier:
                if path.exists():
                    path.replace(aside / path.name)
        (self.folder / "config.toml").write_text(federation_config.to_toml(config))
        self.write_memory(memory)

    def add_metrics(self, line: dict[str, Any]) -> None:
        """Append a round's line to metrics.jsonl."""
        files.append(self.folder / "metrics.jsonl", files.from_dict(line, MetricsLine))

    def metrics(self) -> list[dict[str, Any]]:
        """Return the lines of metrics.jsonl."""
        lines = files.read_lines(self.folder / "metrics.jsonl", MetricsLine)
        return [files.to_dict(line) for line in lines]

    def finished(self, run: bytes) -> bool:
        """Whether this run's summary says that it is over."""
        try:
            summary = json.loads((self.folder / "summary.json").read_text())
        except (OSError, ValueError):
            return False
        return bool(run) and summary.get("run") == run.hex() and summary.get("finished") is True

    def write_summary(self, summary: dict[str, Any]) -> None:
        """Write summary.json; it is on the disk when this returns."""
        found = files.from_dict({"kind": "hospital", **summary}, HospitalSummary)
        files.write(self.folder / "summary.json", found, durable=True)
