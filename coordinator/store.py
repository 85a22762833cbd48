"""What the coordinator keeps on disk: enough to go on after a SIGKILL, and what it saw if it was
told to record.
"""

from __future__ import annotations

import json
import os
import secrets
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from federation import config as federation_config
from federation import model
from federation.config import FederationConfig
from federation.errors import ConfigError
from federation.framefile import write_frames
from federation.messages import Aggregate, Update
from federation.model import SharedModel

LINES = 10_000
"""In events.jsonl by one hospital's own doing since the coordinator was started: nobody fills the
disk by sending rubbish.
"""


@dataclass
class Progress:
    """Which run, the last round begun (never begun again), the last one that gave a result, how
    many did.
    """

    run: bytes
    last_begun: int = 0
    applied: int = 0
    completed: int = 0


class Store:
    """One run directory."""

    def __init__(self, folder: Path, config: FederationConfig) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self._caused: Counter[str] = Counter()
        self._digest = config.digest.hex()
        (folder / "config.toml").write_text(federation_config.to_toml(config))

    def resume(self, run: bytes | None = None) -> Progress:
        """The run that this folder was left in, or a new one (`run`: its id, given only by a
        simulation). Raises ConfigError.
        """
        path = self.folder / "progress.json"
        if not path.exists():
            return Progress(run or secrets.token_bytes(16))
        try:
            found = json.loads(path.read_text())
            progress = Progress(
                bytes.fromhex(found["run"]),
                found["last_begun"],
                found["applied"],
                found["completed"],
            )
        except (ValueError, KeyError, TypeError):
            raise ConfigError(
                f"{path}: is damaged; move {self.folder} away to begin a new run"
            ) from None
        if found.get("config") != self._digest:
            raise ConfigError(
                f"{self.folder}: holds a run of another federation.toml; take another --out, or"
                " move it away"
            )
        return progress

    def write(self, progress: Progress) -> None:
        """On the disk when this returns: a round that was begun is never begun again."""
        content = {
            "run": progress.run.hex(),
            "last_begun": progress.last_begun,
            "applied": progress.applied,
            "completed": progress.completed,
            "config": self._digest,
        }
        self._replace("progress.json", json.dumps(content).encode())

    def read_model(self, start: SharedModel, applied: int) -> SharedModel:
        """The shared model where the run stood, the start before any round. Raises ConfigError
        where they do not fit.
        """
        path = self.folder / "shared.safetensors"
        if not applied:
            return start
        found = model.read(path)
        if found.round != applied or found.layout != start.layout:
            raise ConfigError(
                f"{path}: is not the model of round {applied}; move {self.folder} away to begin a"
                " new run"
            )
        return found

    def add(self, event: dict[str, Any], by: str = "") -> bool:
        """One line in events.jsonl. False, and no line, where `by`, who causes it and can do so at
        any time, has caused LINES.
        """
        self._caused[by] += 1
        if by and self._caused[by] > LINES:
            return False
        with (self.folder / "events.jsonl").open("a") as file:
            file.write(json.dumps(event) + "\n")
        return True

    def write_status(self, status: dict[str, Any]) -> None:
        """What a live table shows, for whoever watches this folder."""
        path = self.folder / "status.json"
        temporary = path.with_suffix(".part")
        temporary.write_text(json.dumps(status))
        temporary.replace(path)

    def write_summary(self, summary: dict[str, Any]) -> None:
        self._replace("summary.json", json.dumps(summary, indent=1).encode())

    def _replace(self, name: str, content: bytes) -> None:
        path = self.folder / name
        temporary = path.with_name(name + ".part")
        with temporary.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)


class Recorder:
    """`--record`: what the coordinator saw of a round, frame by frame, for the leakage benchmark.
    Nothing that it did not see.

    observations/round-N/: `before.safetensors` (the shared model, unless it is hidden from the
    coordinator), `update-ID.bin` and `aggregate.bin` (the frames as they came and went),
    `observation.json`.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def _round(self, round_: int) -> Path:
        path = self.folder / "observations" / f"round-{round_}"
        path.mkdir(parents=True, exist_ok=True)
        return path

    def begin(self, round_: int, before: SharedModel | None, facts: dict[str, Any]) -> None:
        if before is not None:
            before.save(self._round(round_) / "before.safetensors")
        (self._round(round_) / "observation.json").write_text(json.dumps(facts, indent=1))

    def update(self, identifier: str, message: Update) -> None:
        write_frames(self._round(message.round) / f"update-{identifier}.bin", message)

    def aggregate(self, message: Aggregate) -> None:
        write_frames(self._round(message.round) / "aggregate.bin", message)
