"""`report.html` of a run directory: one file, with its pictures inside, that opens anywhere and
needs no network.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from federation.config import default_threshold
from federation.files import write_whole
from federation.protections.sees import helpers
from simulation.report import counts, kit, pictures, visible
from simulation.report.read import BASELINES, RunView, read_run

NAMES = {"majority": "majority class", "linear": "linear model", "local": "training alone"}
ALONE = ("local", "central")
MOST_SKIPPED = 30  # sentences about images that are shown


def write_report(folder: Path) -> Path:
    """Write `folder/report.html` and return its path. Raises ConfigError where `folder` holds no
    run.
    """
    run = read_run(folder)
    path = folder / "report.html"
    write_whole(path, render(run))
    return path


def render(run: RunView) -> str:
    """The page. The same run gives the same bytes."""
    return kit.render("run.html", **_context(run))


def _context(run: RunView) -> dict[str, Any]:
    algorithm, protection = (
        run.about("algorithm", "federation", "algorithm"),
        run.about("protection", "protection", "kind"),
    )
    alone = algorithm in ALONE
    drawn = {
        name: kit.embedded(draw(run))
        for name, draw in {
            "accuracies": pictures.accuracies,
            "curves": pictures.curves,
            "holdings": counts.holdings,
            "confusion": counts.confusion,
            "traffic": counts.traffic if not alone else lambda run: None,
        }.items()
    }
    told = (
        None
        if run.events is None
        else any(event.get("event") == "reported" and event.get("accuracy") for event in run.events)
    )
    skipped = {one.id: one.skipped for one in run.hospitals if one.skipped}
    return {
        "run": run,
        "title": (
            run.summary.get("id")
            or run.summary.get("dataset")
            or run.config.get("federation", {}).get("name")
            or "Federation"
        ),
        "kind": _kind(run, algorithm),
        "stopped": run.summary.get("finished") is False or bool(run.summary.get("stopped")),
        "algorithm": algorithm,
        "protection": protection,
        "alone": alone,
        "facts": _facts(run, algorithm, protection, alone),
        "baselines": [
            (NAMES[name], run.baselines[name]) for name in BASELINES if run.baselines.get(name)
        ],
        "verdict": _verdict(run),
        "pictures": drawn,
        "sentence": "" if alone else visible.sentence(protection),
        "visible": [] if alone else visible.rows(protection, algorithm, told, _helpers(run)),
        "skipped": {
            name: (sentences[:MOST_SKIPPED], len(sentences)) for name, sentences in skipped.items()
        },
        "notes": _notes(run),
        "trouble": run.trouble,
        "seconds": _times(run.summary.get("seconds") or {}),
        "global_test": run.summary.get("global_test") or {},
    }


def _kind(run: RunView, algorithm: str) -> str:
    if "id" in run.summary:
        return "Report of one hospital"
    known = {
        "local": "Report of hospitals that trained alone",
        "central": "Report of one model on everybody's images",
    }
    return known.get(algorithm, "Report of a federated run")


def _facts(run: RunView, algorithm: str, protection: str, alone: bool) -> list[tuple[str, str]]:
    """What was run, in words."""
    hospitals = len(run.hospitals) if run.hospitals else run.summary.get("hospitals", "")
    number = (
        hospitals
        if isinstance(hospitals, int)
        else len(hospitals)
        if isinstance(hospitals, list)
        else 0
    )
    cohort = run.about("cohort", "federation", "cohort", 0)
    rounds, planned = (
        run.summary.get("rounds_completed", run.summary.get("round", 0)),
        run.config.get("federation", {}).get("rounds"),
    )
    shared, private = run.summary.get("shared_parameters"), run.summary.get("private_parameters")
    found = [
        ("data", str(run.summary.get("dataset", ""))),
        (
            "classes",
            ", ".join(run.classes) if len(run.classes) <= counts.MANY else f"{len(run.classes)}",
        ),
        ("hospitals", _hospitals(run, number, 0 if alone else cohort)),
        ("rounds", f"{rounds} of {planned}" if planned and planned != rounds else f"{rounds}"),
        ("model", _model(run)),
        ("algorithm", algorithm),
        (
            "protection",
            {
                "local": "none needed: nothing is sent",
                "central": "none: all images in one place",
            }.get(algorithm, protection),
        ),
        ("shared parameters", f"{shared:,}" if isinstance(shared, int) and not alone else ""),
        ("private parameters", _private(shared, private) if not alone else ""),
        ("transport", str(run.summary.get("transport", "")) if not alone else ""),
        ("seed", str(run.summary.get("seed", ""))),
        ("trained on", ", ".join(sorted({one.device for one in run.hospitals if one.device}))),
    ]
    return [(name, text) for name, text in found if text]


def _hospitals(run: RunView, number: int, cohort: int) -> str:
    if "id" in run.summary:
        return f"{cohort} in a round"
    return (
        f"{number or ''}{', ' if number else ''}{cohort} in a round"
        if cohort and cohort != number
        else f"{number or ''}"
    )


def _model(run: RunView) -> str:
    model = run.about("model", "model", "name")
    name = model.get("name", "") if isinstance(model, dict) else model
    size = run.config.get("model", {}).get("image_size")
    return f"{name}, {size} × {size} pixels" if size else str(name)


def _private(shared: Any, private: Any) -> str:
    if not isinstance(private, int) or not isinstance(shared, int) or not shared + private:
        return ""
    return f"{private:,} ({100 * private / (shared + private):.3g} % of the model)"


def _verdict(run: RunView) -> str:
    """One sentence that says no more than the intervals allow."""
    known = {NAMES[name]: run.baselines[name] for name in BASELINES if run.baselines.get(name)}
    if not run.test or not known:
        return ""
    low, high = run.test["interval"]
    above = [name for name, one in known.items() if one["interval"][1] < low]
    below = [name for name, one in known.items() if one["interval"][0] > high]
    unclear = [name for name in known if name not in above + below]
    parts = [f"clearly above {_and(above)}"] if above else []
    parts += [f"clearly below {_and(below)}"] if below else []
    parts += [f"not to be told from {_and(unclear)}: the 95 % intervals overlap"] if unclear else []
    return "; ".join(parts) + "."


def _helpers(run: RunView) -> int:
    """How many hospitals must help the coordinator to read another one's update under masks; 0
    where it is not known.
    """
    settings, cohort = (
        run.config.get("federation", {}),
        run.about("cohort", "federation", "cohort", 0),
    )
    if not cohort:
        return 0
    threshold = run.config.get("protection", {}).get("threshold") or default_threshold(cohort)
    return helpers(cohort, threshold, settings.get("min_cohort", 1))


def _times(seconds: dict[str, Any]) -> dict[str, str]:
    names = {
        "total": "from start to end",
        "train": "training, all hospitals",
        "protect": "protecting, all hospitals",
        "aggregate": "aggregating",
    }
    return {names[key]: kit.readable_seconds(seconds[key]) for key in names if seconds.get(key)}


def _notes(run: RunView) -> list[str]:
    """How the data were divided; what every hospital says is said once."""
    return list(dict.fromkeys(note for one in run.hospitals for note in one.notes))


def _and(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
