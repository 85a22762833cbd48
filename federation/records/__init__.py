"""The files of a run directory as typed records: one writer each, and typed readers.

`RECORDS` says which record a file holds; `flop schema` prints them.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from federation.records.events import Event
from federation.records.state import HospitalProgress, ObservedRound, RunProgress, Status
from federation.records.summary import (
    CoordinatorSummary,
    HospitalSummary,
    MergedLine,
    MetricsLine,
    RunSummary,
)


class RunFile(NamedTuple):
    """A file of a run directory: `path` is a pattern; a file `*.jsonl` holds one record a line."""

    path: str
    kind: Any
    about: str


RECORDS = {
    "simulation": RunFile("summary.json", RunSummary, "summary of `flop sim`"),
    "coordinator": RunFile("summary.json", CoordinatorSummary, "summary of a coordinator"),
    "hospital": RunFile(
        "hospitals/*/summary.json", HospitalSummary, "summary of one hospital, in its own directory"
    ),
    "metrics": RunFile("metrics.jsonl", MergedLine, "one round of `flop sim`, all hospitals"),
    "hospital-metrics": RunFile(
        "hospitals/*/metrics.jsonl", MetricsLine, "one round of one hospital"
    ),
    "events": RunFile("events.jsonl", Event, "what happened in a run"),
    "status": RunFile("status.json", Status, "the live table"),
    "progress": RunFile("progress.json", RunProgress, "what a coordinator goes on from"),
    "memory": RunFile("hospitals/*/memory.json", HospitalProgress, "what a hospital goes on from"),
    "observation": RunFile(
        "observations/round-*/observation.json", ObservedRound, "a recorded round"
    ),
}
