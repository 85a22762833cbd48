"""The small files of a run directory: where a run stands, for a restart or for a live table."""

from __future__ import annotations

from typing import Annotated

import msgspec

RunHex = Annotated[str, msgspec.Meta(pattern="^[0-9a-f]*$", description="A run's id in hex.")]


class RunProgress(msgspec.Struct, kw_only=True):
    """The coordinator's progress.json: what it must still know after a SIGKILL.

    `last_begun` is never begun again; `applied` is the last round that gave an aggregate;
    `completed` counts them; `config` is the digest of federation.toml in hex.
    """

    run: RunHex
    last_begun: int
    applied: int
    completed: int
    config: RunHex


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
