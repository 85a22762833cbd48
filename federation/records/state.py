"""The small files of a run directory: where a run stands, for a restart or for a live table."""

from __future__ import annotations

from typing import Annotated

import msgspec

from federation.types import RunId

RunHex = Annotated[str, msgspec.Meta(pattern="^[0-9a-f]*$", description="A run's id in hex.")]


class RunProgress(msgspec.Struct, frozen=True, kw_only=True):
    """The coordinator's progress.json: what it must still know after a SIGKILL.

    `last_begun` is the last round that was begun, and its number is never used again; `applied` is
    the last round that gave an aggregate, 0 before the first; `completed` counts those that were
    kept; `config` is the digest of federation.toml in hex.
    """

    run: RunHex
    last_begun: int = 0
    applied: int = 0
    completed: int = 0
    config: RunHex

    @classmethod
    def of(cls, run: bytes, config: bytes, **reached: int) -> RunProgress:
        """Where run `run` stands: at its start, unless `reached` says how far it got."""
        return cls(run=run.hex(), config=config.hex(), **reached)

    @property
    def run_id(self) -> RunId:
        """The run's id, 16 bytes."""
        return RunId(bytes.fromhex(self.run))


class HospitalProgress(msgspec.Struct, kw_only=True):
    """A hospital's memory.json: what it must still know after a SIGKILL.

    `answered` is the last round that it answered: it never answers one twice. No group key of an
    epoch before `least_epoch` is accepted.
    """

    run: RunHex
    past_runs: list[RunHex]
    answered: int
    least_epoch: int


class ObservedRound(msgspec.Struct, kw_only=True):
    """observation.json: which round of which run the recorded files beside it belong to.

    `config` is the run's config file, relative to the run directory.
    """

    round: int
    run: RunHex
    cohort: tuple[str, ...]
    config: str = "config.toml"


class HospitalStatus(msgspec.Struct, kw_only=True):
    """A row of the live table. `progress` of local training is in [0, 1]."""

    id: str
    state: str
    progress: float
    accuracy: float | None
    clipped: int | None


class Status(msgspec.Struct, kw_only=True):
    """status.json: what the live table shows now.

    `run` holds the first 12 digits of its id; `accuracy` is the mean of the local tests that the
    coordinator was given; `seconds_left` is an estimate, None before the first round is over.
    """

    run: str
    phase: str
    round: int
    rounds: int
    completed: int
    protection: str
    hospitals: list[HospitalStatus]
    accuracy: float | None
    seconds: float
    seconds_left: float | None
