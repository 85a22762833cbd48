"""`report.html` of a run directory: one file, with its pictures inside, that opens anywhere and
needs no network.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from federation.files import write_whole
from federation.protections.sees import helpers
from federation.records.events import RoundReported
from federation.records.summary import CoordinatorSummary, HospitalSummary, RunSummary, Seconds
from learning.metrics import METRICS
from simulation.report import counts, facts, kit, pictures, visible
from simulation.report.differences import warnings
from simulation.report.read import BASELINES, RunView, read_run
from simulation.report.trouble import trouble

MOST_SKIPPED = 30
"""Sentences about skipped images that are shown for a hospital."""
MOST_TROUBLE = 200


def write_report(folder: Path) -> Path:
    """Write `folder/report.html` and return its path.

    Raises:
        ConfigError: If `folder` holds no run, or a file of it is damaged.
    """
    path = folder / "report.html"
    write_whole(path, render(read_run(folder)))
    return path


def render(run: RunView) -> str:
    """The page. The same run gives the same bytes."""
    return kit.render("run.html", **_context(run))


def _context(run: RunView) -> dict[str, Any]:
    summary = run.summary
    federated = run.algorithm not in facts.UNPROTECTED
    drawn = {
        "accuracies": pictures.accuracies(run),
        "curves": pictures.curves(run),
        "holdings": counts.holdings(run),
        "confusion": counts.confusion(run),
        "traffic": counts.traffic(run) if federated else None,
    }
    table = (
        visible.rows(summary.protection, run.algorithm, _told(run), _helpers(run))
        if federated
        else []
    )
    skipped = {one.id: one.skipped for one in run.hospitals if one.skipped}
    hospital = isinstance(summary, HospitalSummary)
    return {
        "run": run,
        "metrics": METRICS,
        "title": facts.title(run),
        "kind": facts.kind(run),
        "stopped": not summary.finished,
        "federated": federated,
        "facts": facts.facts(run),
        "baselines": [(BASELINES[name], found) for name, found in run.baselines.items()],
        "verdict": _verdict(run),
        "pictures": {name: kit.embedded(png) for name, png in drawn.items()},
        "protection": summary.protection,
        "sentence": visible.sentence(summary.protection) if federated else "",
        "visible": table,
        "warnings": warnings(run.events or (), table) if federated else [],
        "skipped": {
            name: (sentences[:MOST_SKIPPED], len(sentences)) for name, sentences in skipped.items()
        },
        "notes": list(dict.fromkeys(note for one in run.hospitals for note in one.notes)),
        "trouble": trouble(run.events or ()),
        "most_trouble": MOST_TROUBLE,
        "own": hospital,
        "seconds": {} if isinstance(summary, HospitalSummary) else _times(summary.seconds),
        "global_test": summary.global_test if isinstance(summary, RunSummary) else None,
        "shared_accuracy": (
            summary.mean_shared_accuracy if isinstance(summary, CoordinatorSummary) else None
        ),
    }


def _told(run: RunView) -> bool | None:
    """Whether hospitals told the coordinator their accuracies; None if it is not known here."""
    if run.events is None:
        return None
    return any(isinstance(event, RoundReported) and event.accuracy for event in run.events)


def _verdict(run: RunView) -> str:
    """One sentence that says no more than the intervals allow."""
    if run.test is None or run.test.figures.interval is None:
        return ""
    low, high = run.test.figures.interval
    known = {
        BASELINES[name]: found.figures.interval
        for name, found in run.baselines.items()
        if found.figures.interval is not None
    }
    above = [name for name, interval in known.items() if interval[1] < low]
    below = [name for name, interval in known.items() if interval[0] > high]
    unclear = [name for name in known if name not in above + below]
    parts = [f"clearly above {_and(above)}"] if above else []
    parts += [f"clearly below {_and(below)}"] if below else []
    if unclear:
        parts.append(f"not distinguishable from {_and(unclear)}: the 95 % intervals overlap")
    return "; ".join(parts) + "." if parts else ""


def _helpers(run: RunView) -> int:
    """How many hospitals must help the coordinator to read another one's update under masks; 0
    if it is not known.
    """
    if run.config is None:
        return 0
    settings = run.config.federation
    return helpers(settings.cohort, run.config.threshold, settings.min_cohort)


def _times(seconds: Seconds) -> dict[str, str]:
    found = {
        "from start to end": seconds.total,
        "training, all hospitals": seconds.train,
        "protecting, all hospitals": seconds.protect,
        "aggregating": seconds.aggregate,
    }
    return {name: kit.readable_seconds(value) for name, value in found.items() if value}


def _and(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
