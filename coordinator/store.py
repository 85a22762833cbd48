"""What the coordinator keeps on disk: enough to go on after a SIGKILL, and what it saw if it
records.
"""

from __future__ import annotations

import secrets
from collections import Counter
from pathlib import Path

from federation import config as federation_config
from federation import model
from federation.config import FederationConfig
from federation.errors import ConfigError
from federation.framefile import write_frames
from federation.messages import Aggregate, Update
from federation.model import SharedModel
from federation.records import files
from federation.records.events import Logged
from federation.records.state import ObservedRound, RunProgress, Status
from federation.records.summary import CoordinatorSummary

PROGRESS, STATUS = "progress.json", "status.json"
LINES = 10_000
"""Lines of events.jsonl that one hospital can cause by itself since the coordinator was started: it
cannot fill the disk with rubbish.
"""


class Store:
    """One run directory."""

    def __init__(self, folder: Path, config: FederationConfig) -> None:
        self.folder, self.config = folder, config
        folder.mkdir(parents=True, exist_ok=True)
        self._caused: Counter[str] = Counter()
        (folder / "config.toml").write_text(federation_config.to_toml(config))

    def resume(self, run: bytes | None = None) -> RunProgress:
        """Return where the run in this folder stands, or the beginning of a new run.

        Args:
            run: The id of a new run; by default it is drawn at random.

        Raises:
            ConfigError: If the folder's run is damaged or belongs to another federation.toml.
        """
        path = self.folder / PROGRESS
        if not path.exists():
            return RunProgress.of(run or secrets.token_bytes(16), self.config.digest)
        try:
            progress = files.read(path, RunProgress)
            if len(progress.run_id) != 16:
                raise ValueError
        except (ConfigError, ValueError):
            raise ConfigError(
                f"{path}: is damaged; move {self.folder} away to begin a new run"
            ) from None
        if progress.config != self.config.digest.hex():
            raise ConfigError(
                f"{self.folder}: holds a run of another federation.toml; take another --out, or"
                " move it away"
            )
        return progress

    def write(self, progress: RunProgress) -> None:
        """Write progress.json; it is on the disk when this returns."""
        files.write(self.folder / PROGRESS, progress, durable=True)

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

    def add(self, event: Logged, by: str = "") -> bool:
        """Append one line to events.jsonl.

        Args:
            by: Who caused the event, if it is somebody who can do so as often as it likes.

        Returns:
            False, and nothing is written, once `by` has caused `LINES` events.
        """
        self._caused[by] += 1
        if by and self._caused[by] > LINES:
            return False
        files.append(self.folder / "events.jsonl", event)
        return True

    def write_status(self, status: Status) -> None:
        """Write status.json, for whoever watches this folder."""
        files.write(self.folder / STATUS, status)

    def write_summary(self, summary: CoordinatorSummary) -> None:
        """Write summary.json; it is on the disk when this returns."""
        files.write(self.folder / "summary.json", summary, durable=True)


def read_status(folder: Path) -> Status | None:
    """The last status that a coordinator wrote into its run directory, None before the first."""
    try:
        return files.read(folder / STATUS, Status)
    except ConfigError:
        return None


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

    def begin(self, about: ObservedRound, before: SharedModel | None) -> None:
        """A round begins from the model `before`, None if it is hidden from the coordinator."""
        if before is not None:
            before.save(self._round(about.round) / "before.safetensors")
        files.write(self._round(about.round) / "observation.json", about)

    def update(self, identifier: str, message: Update) -> None:
        """Hospital `identifier` uploaded `message`."""
        write_frames(self._round(message.round) / f"update-{identifier}.bin", message)

    def aggregate(self, message: Aggregate) -> None:
        """The coordinator sent `message` to the hospitals."""
        write_frames(self._round(message.round) / "aggregate.bin", message)
