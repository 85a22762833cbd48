"""What was run, in words: the head of a report."""

from __future__ import annotations

from federation.records.summary import CoordinatorSummary, HospitalSummary, RunSummary
from simulation.report.counts import MANY
from simulation.report.read import RunView

UNPROTECTED = {
    "local": "none needed: nothing is sent",
    "central": "none: all images are in one place",
}
"""Why an algorithm that is only compared with has no protection."""
KINDS = {
    "local": "Report of hospitals that trained alone",
    "central": "Report of one model on everybody's images",
}


def kind(run: RunView) -> str:
    """The line above the title."""
    if isinstance(run.summary, HospitalSummary):
        return "Report of one hospital"
    return KINDS.get(run.algorithm, "Report of a federated run")


def title(run: RunView) -> str:
    match run.summary:
        case HospitalSummary(id=identifier):
            return identifier
        case RunSummary(dataset=dataset) if dataset:
            return dataset
    return (run.config.federation.name if run.config else "") or "Federation"


def facts(run: RunView) -> list[tuple[str, str]]:
    """Pairs of a name and a text; what is not known is left out."""
    classes = ", ".join(run.classes) if len(run.classes) <= MANY else f"{len(run.classes)}"
    federated = run.algorithm not in UNPROTECTED
    found = [
        ("classes", classes),
        ("hospitals", _hospitals(run, federated)),
        ("rounds", _rounds(run)),
        ("model", _model(run)),
        ("algorithm", run.algorithm),
        ("protection", UNPROTECTED.get(run.algorithm, run.summary.protection)),
        ("trained on", ", ".join(sorted({one.device for one in run.hospitals if one.device}))),
    ]
    if isinstance(run.summary, RunSummary):
        found[:0] = [("data", run.summary.dataset)]
        found[-1:-1] = [("seed", str(run.summary.seed))]
    if federated and isinstance(run.summary, RunSummary):
        found.insert(-2, ("transport", run.summary.transport))
    if federated and not isinstance(run.summary, CoordinatorSummary):
        shared, private = run.summary.shared_parameters, run.summary.private_parameters
        found.insert(-1, ("shared parameters", f"{shared:,}"))
        if shared + private:
            share = 100 * private / (shared + private)
            text = f"{private:,} ({share:.3g} % of the model)"
            found.insert(-1, ("private parameters", text))
    return [(name, text) for name, text in found if text]


def _hospitals(run: RunView, federated: bool) -> str:
    in_a_round = f"{run.cohort} in a round" if federated and run.cohort else ""
    if isinstance(run.summary, HospitalSummary):
        return in_a_round
    asked = run.summary.hospitals if isinstance(run.summary, RunSummary) else 0
    number = len(run.hospitals) or asked
    if not number or number == run.cohort:
        return f"{number or in_a_round}"
    return f"{number}, {in_a_round}" if in_a_round else f"{number}"


def _rounds(run: RunView) -> str:
    summary = run.summary
    done = summary.round if isinstance(summary, HospitalSummary) else summary.rounds_completed
    planned = run.config.federation.rounds if run.config else done
    return f"{done} of {planned}" if planned != done else f"{done}"


def _model(run: RunView) -> str:
    if run.config is not None:
        size = run.config.model.image_size
        return f"{run.config.model.name}, {size} × {size} pixels"
    return "" if isinstance(run.summary, CoordinatorSummary) else run.summary.model
