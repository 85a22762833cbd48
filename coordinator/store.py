"""What the coordinator keeps on disk: enough to go on after a SIGKILL, and what it saw if it was
told to record.
"""

from __future__ import annotations

import json
import os
import secrets
from collections import Counter
from pathlib import Path
from typing import Any

from coordinator.checkpoint import Checkpoint
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


class Store:
    """One run directory."""

    def __init__(self, folder: Path, config: FederationConfig) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self._caused: Counter[str] = Counter()
        self._digest = config.digest.hex()
        (folder / "config.toml").write_text(federation_config.to_toml(config))

    def resume(self, run: bytes | None = None) -> Checkpoint:
        """Return where the run in this folder stands, or the beginning of a new run.

        Args:
            run: The id of a new run; by default it is drawn at random.

        Raises:
            ConfigError: If the folder's run is damaged or belongs to another federation.toml.
        """
        path = self.folder / "progress.json"
        if not path.exists():
            return Checkpoint(run or secrets.token_bytes(16))
        try:
            found = json.loads(path.read_text())
            checkpoint = Checkpoint(
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
        return checkpoint

    def write(self, checkpoint: Checkpoint) -> None:
        """Write progress.json; it is on the disk when this returns."""
        content = {
            "run": checkpoint.run.hex(),
            "last_begun": checkpoint.last_begun,
            "applied": checkpoint.applied,
            "completed": checkpoint.completed,
            "config": self._digest,
        }
        self._replace("progress.json", json.dumps(content).encode())

    @property
    def shared(self) -> Path:
        return self.folder / "shared.safetensors"

    @property
    def previous(self) -> Path:
        return self.folder / "shared-previous.safetensors"

    def write_model(self, shared: SharedModel) -> None:
        """Write shared.safetensors and keep the one before it: the hospitals may still refuse the
        round, and the process may be killed before progress.json is written.
        """
        if self.shared.exists():
            self.shared.replace(self.previous)
        shared.save(self.shared)

    def read_model(self, start: SharedModel, applied: int) -> SharedModel | None:
        """Return a copy of the shared model after round `applied`, or None if this folder has none.

        Raises:
            ConfigError: If a model file in this folder is damaged.
        """
        if not applied:
            return SharedModel(start.layout, start.vector.copy(), start.clips.copy())
        for path in (self.shared, self.previous):
            if path.exists():
                found = model.read(path)
                if found.round == applied and found.layout == start.layout:
                    return found
        return None

    def take_back_model(self, shared: SharedModel) -> None:
        """The hospitals refused the last round: shared.safetensors is `shared` again."""
        shared.save(self.shared)
        self.confirm_model()

    def confirm_model(self) -> None:
        """The hospitals kept the last round: the model before it is not needed any more."""
        self.previous.unlink(missing_ok=True)

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
