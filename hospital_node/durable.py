"""What a hospital must still know after its process was killed."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass
class Durable:
    """The session changes it and asks with `Remember` that it is on the disk.

    Attributes:
        run: The current run's id, 16 bytes; empty before the first run.
        past_runs: Ids of all earlier runs: none of them is taken part in again.
        answered: The last round that this hospital answered: it answers none twice.
        least_epoch: Group keys of earlier epochs were replaced or given up, and are not accepted.
    """

    run: bytes = b""
    past_runs: list[bytes] = field(default_factory=list)
    answered: int = 0
    least_epoch: int = 0
