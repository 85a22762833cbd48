"""The live table: where the run is, what each hospital does, how long it will take."""

from __future__ import annotations

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from coordinator.phases import Phase
from coordinator.run import Run
from federation.records.state import HospitalStatus, Status
from federation.types import HospitalNumber

BARS = 12


def snapshot(run: Run, seconds: float) -> Status:
    """What the table shows of `run` now, `seconds` after it was started."""
    current = run.round
    rounds = run.config.federation.rounds
    begun = run.last_begun - (1 if current else 0)
    return Status(
        run=run.progress.run[:12],
        phase=current.state.phase if current else str(run.phase),
        round=run.last_begun,
        rounds=rounds,
        completed=run.completed - (run.phase == Phase.REPORTING),
        protection=run.config.protection.kind,
        hospitals=[
            HospitalStatus(
                id=run.ids[who],
                state=_state(run, HospitalNumber(who)),
                progress=current.progress.get(HospitalNumber(who), 0.0) if current else 0.0,
                accuracy=one.accuracy,
                clipped=one.clipped,
            )
            for who, one in enumerate(run.presence.hospitals)
        ],
        accuracy=run.mean_accuracy,
        seconds=seconds,
        seconds_left=seconds / begun * (rounds - begun) if begun else None,
    )


def _state(run: Run, who: HospitalNumber) -> str:
    one, current = run.presence[who], run.round
    if not run.presence.connected(who):
        return f"away ({one.code})" if one.code else "away"
    if current is None:
        return "ready" if run.phase != Phase.FINISHED else "done"
    if who in current.gone:
        return f"out: {current.gone[who]}"
    if who not in current.plan.cohort:
        return "not in this round"
    state = current.state
    if who in state.received:
        return "waiting for the others"
    if state.granted:
        return "uploading" if who in current.granted else "waiting for its turn"
    return (
        "training"
        if current.progress.get(who, 0.0) < 1.0 and state.phase in ("ready", "advertise_keys")
        else state.phase
    )


def draw(status: Status) -> RenderableType:
    """The table of a snapshot."""
    head = Text.assemble(
        ("round ", "dim"),
        (f"{status.round}/{status.rounds}", "bold"),
        ("   phase ", "dim"),
        (status.phase, "bold"),
        ("   protection ", "dim"),
        (status.protection, "bold"),
        ("   mean local test ", "dim"),
        (_percent(status.accuracy), "bold green"),
        ("   left ", "dim"),
        (_duration(status.seconds_left), "bold"),
    )
    table = Table(box=None, pad_edge=False, header_style="dim")
    for column in ("hospital", "state", "training", "local test", "clipped"):
        table.add_column(column)
    for row in status.hospitals:
        done = round(row.progress * BARS)
        bar = "█" * done + "·" * (BARS - done) if row.progress else ""
        clipped = "" if row.clipped is None else str(row.clipped)
        table.add_row(row.id, row.state, bar, _percent(row.accuracy), clipped)
    return Group(head, table)


def _percent(value: float | None) -> str:
    return "" if value is None else f"{100 * value:.1f} %"


def _duration(seconds: float | None) -> str:
    if seconds is None:
        return "…"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"
