"""A run directory as one object: `flop sim`'s, a coordinator's (no hospital in it), or one
hospital's own.
"""

from __future__ import annotations

import json
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from federation.errors import ConfigError
from hospital_node.summary import figures

BASELINES = ("majority", "linear", "local")
TROUBLE = (
    "lost",
    "fault",
    "malformed",
    "rejected",
    "disconnected",
    "refused",
    "refusal",
    "aborted",
    "discarded",
)
"""Events that a reader should hear of; `begin` tells in which round they happened."""


MEANS = {"discarded": "most hospitals refused the sum: the round counts as not having been"}


@dataclass(frozen=True)
class HospitalView:
    """`test` and `baselines`: figures of the local test (see hospital_node.summary). `rounds`: the
    lines of metrics.jsonl.
    """

    id: str
    train: list[int]
    test: dict[str, Any]
    baselines: dict[str, dict[str, Any]]
    rounds: list[dict[str, Any]]
    skipped: list[str]
    notes: list[str]
    device: str


@dataclass(frozen=True)
class RunView:
    """`test` and `baselines` are over the local tests of all hospitals together; empty where
    nothing is known.

    `events`: the coordinator's; None in a hospital's own directory, which has none.
    """

    folder: Path
    summary: dict[str, Any]
    config: dict[str, Any]
    classes: list[str]
    hospitals: list[HospitalView]
    test: dict[str, Any]
    baselines: dict[str, dict[str, Any]]
    events: list[dict[str, Any]] | None

    def about(self, key: str, table: str, name: str, default: Any = "") -> Any:
        """`summary[key]`, else `config[table][name]`."""
        return self.summary.get(key, self.config.get(table, {}).get(name, default))

    @property
    def trouble(self) -> list[dict[str, Any]]:
        """What went wrong, in order, each with its round (0: before the first); the same thing in
        one round once, with `times`.
        """
        found: dict[tuple[Any, ...], dict[str, Any]] = {}
        round_ = 0
        for event in self.events or ():
            if event.get("event") == "begin":
                round_ = event.get("round", round_)
            if event.get("event") in TROUBLE:
                at = event.get("round", round_)
                text = event.get("text") or event.get("code") or MEANS.get(event["event"], "")
                key = (at, event["event"], event.get("hospital", ""), text)
                row = {
                    "round": at,
                    "event": event["event"],
                    "hospital": event.get("hospital", ""),
                    "text": text,
                    "times": 0,
                }
                found.setdefault(key, row)["times"] += 1
        return list(found.values())

    @property
    def aborted(self) -> list[int]:
        """Rounds without a result."""
        ended = ("aborted", "discarded")
        return [
            event["round"]
            for event in self.events or ()
            if event.get("event") in ended and "round" in event
        ]


def read_run(folder: Path) -> RunView:
    """Read what is there. Raises ConfigError where `folder` holds no run."""
    summary = _json(folder / "summary.json")
    if not summary:
        raise ConfigError(
            f"{folder}: has no summary.json; give the directory of a run that was finished or"
            " stopped, e.g. runs/sim"
        )
    if "rounds_completed" not in summary and "local_test" not in summary:
        raise ConfigError(
            f"{folder / 'summary.json'}: is not the summary of a run; reports of benchmarks are"
            " written by the benchmarks"
        )
    path = folder / "config.toml"
    config = tomllib.loads(path.read_text()) if path.exists() else {}
    places = sorted(path.parent for path in (folder / "hospitals").glob("*/summary.json"))
    alone = "id" in summary and not places
    hospitals = [_hospital(place) for place in ([folder] if alone else places)]
    test = _together([one.test for one in hospitals]) or _figures(summary.get("local_test"))
    baselines = {
        name: _together([one.baselines.get(name, {}) for one in hospitals]) for name in BASELINES
    }
    merged = summary.get("baselines") or {}
    return RunView(
        folder=folder,
        summary=summary,
        config=config,
        classes=_classes(summary, config, [one.train for one in hospitals]),
        hospitals=hospitals,
        test=test,
        baselines={name: found or _figures(merged.get(name)) for name, found in baselines.items()},
        events=None if alone else _lines(folder / "events.jsonl"),
    )


def _hospital(folder: Path) -> HospitalView:
    summary = _json(folder / "summary.json")
    return HospitalView(
        id=summary.get("id", folder.name),
        train=list(summary.get("train_examples", [])),
        test=_figures(summary.get("local_test")),
        baselines={
            name: _figures(value) for name, value in (summary.get("baselines") or {}).items()
        },
        rounds=_once_a_round(_lines(folder / "metrics.jsonl")),
        skipped=list(summary.get("skipped_images", [])),
        notes=list(summary.get("partition_notes", [])),
        device=summary.get("device", ""),
    )


def _figures(value: Any) -> dict[str, Any]:
    """The figures of a summary's confusion counts; empty where nothing was tested. `mean`: the
    accuracy that it states.
    """
    if not isinstance(value, dict) or not value.get("confusion"):
        return {}
    found = figures(value["confusion"])
    return {**found, "mean": value.get("accuracy")} if found["examples"] else {}


def _together(several: list[dict[str, Any]]) -> dict[str, Any]:
    """The figures of all hospitals' tests put together, and the `mean` of their accuracies; empty
    unless all have some.
    """
    if not several or not all(several):
        return {}
    mean = float(np.mean([one["accuracy"] for one in several]))
    return {**figures(np.sum([one["confusion"] for one in several], axis=0)), "mean": mean}


def _classes(summary: dict[str, Any], config: dict[str, Any], counts: list[list[int]]) -> list[str]:
    named = summary.get("classes") or config.get("model", {}).get("classes")
    return (
        list(named)
        if named
        else [f"class {number + 1}" for number in range(max(map(len, counts), default=0))]
    )


def _once_a_round(lines: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """A hospital that was restarted may have written a round twice; the last line counts."""
    return [
        line
        for _, line in sorted({line["round"]: line for line in lines if "round" in line}.items())
    ]


def _json(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text()) if path.exists() else {}
    except ValueError:
        raise ConfigError(
            f"{path}: is not valid JSON; the run that wrote it may have been killed while writing"
        ) from None
    return found if isinstance(found, dict) else {}


def _lines(path: Path) -> list[dict[str, Any]]:
    """The lines of a JSON-lines file; a last line that was cut off by a kill is left out."""
    found = []
    for line in path.read_text().splitlines() if path.exists() else []:
        try:
            entry = json.loads(line)
        except ValueError:
            continue
        if isinstance(entry, dict):
            found.append(entry)
    return found
