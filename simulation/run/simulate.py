"""Run a whole federation on this machine: prepare, play, merge, report."""

from __future__ import annotations

import shutil
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any

from rich.console import Console
from rich.live import Live

from coordinator.status import draw
from federation.records import files
from federation.records.state import Status
from federation.records.summary import CoordinatorSummary, HospitalSummary, RunSummary
from learning import device as devices
from learning.data import Dataset
from simulation.report.report import write_report
from simulation.run.alone import Unfederated
from simulation.run.federate import Federation, Stopped
from simulation.run.options import Options
from simulation.run.prepare import Prepared, prepare
from simulation.run.processes import Processes, write_files
from simulation.run.summary import global_test, merge, round_metrics

Watch = Callable[[Status], None]


class Stop:
    """Whether Ctrl-C or SIGTERM has arrived; read between two batches.

    Used as a context manager. It listens only in the main thread, where Python allows it, and puts
    the handlers back that it found.
    """

    def __init__(self) -> None:
        self.asked = False
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Stop:
        if threading.current_thread() is threading.main_thread():
            for name in (signal.SIGINT, signal.SIGTERM):
                self._before[name] = signal.signal(name, self._ask)
        return self

    def __exit__(self, *error: object) -> None:
        for name, handler in self._before.items():
            # None: a handler that was not installed from Python, which nobody can put back
            signal.signal(name, signal.SIG_DFL if handler is None else handler)

    def _ask(self, number: int, frame: FrameType | None) -> None:
        self.asked = True

    def __call__(self) -> bool:
        return self.asked


def simulate(
    options: Options,
    console: Console | None = None,
    watch: Watch | None = None,
    dataset: Dataset | None = None,
) -> RunSummary:
    """Run a federation and write its run directory.

    It may run in any thread. Ctrl-C and SIGTERM stop it between two batches if it runs in the main
    thread; the signal handlers are afterwards what they were.

    Args:
        options: What is asked for.
        console: Where progress is shown; by default nowhere.
        watch: Called with a snapshot of the federation whenever something has happened.
        dataset: The data, if it is not what `options.data` names; in memory only.

    Returns:
        What summary.json holds.

    Raises:
        ConfigError: If the options do not fit together, the data, or the run directory.
        DataError: If the data cannot be read.
        FederationError: If a process of the federation fails. A run that fails before its first
            round is done leaves nothing in a new `options.out` but the logs of its processes.
    """
    fresh = not options.out.exists()
    try:
        with Stop() as stop:
            return _simulate(options, console or Console(quiet=True), watch, stop, dataset)
    except BaseException:
        if fresh:
            _clean(options.out)
        raise


def _simulate(
    options: Options,
    console: Console,
    watch: Watch | None,
    stop: Stop,
    dataset: Dataset | None,
) -> RunSummary:
    began = time.monotonic()
    prepared = prepare(options, dataset)
    play = _alone if options.alone else _memory if options.transport == "memory" else _zmq
    with _Shown(console, watch) as show:
        completed, coordinator = play(prepared, stop, show, console)
    hospitals = _hospitals(prepared)
    seconds = time.monotonic() - began
    summary = merge(prepared, hospitals, coordinator, completed, seconds, stop())
    files.write_lines(options.out / "metrics.jsonl", round_metrics(prepared))
    if not options.alone and not stop():
        summary.global_test = global_test(prepared, devices.choose(options.device))
        summary.seconds.total = time.monotonic() - began
    files.write(options.out / "summary.json", summary)
    write_report(options.out)
    return summary


def _hospitals(prepared: Prepared) -> list[HospitalSummary]:
    """What the hospitals wrote; one that has not begun the run wrote nothing."""
    paths = [prepared.options.out / "hospitals" / one / "summary.json" for one in prepared.ids]
    return [files.read(path, HospitalSummary) for path in paths if path.exists()]


def _clean(out: Path) -> None:
    """Remove what a failed run has left, unless a round of it is done; logs stay."""
    if any(out.glob("hospitals/*/metrics.jsonl")):
        return
    for path in out.iterdir() if out.is_dir() else ():
        if path.is_dir() and path.name != "logs":
            shutil.rmtree(path, ignore_errors=True)
        elif not path.is_dir():
            path.unlink(missing_ok=True)
    if out.is_dir() and not any(out.iterdir()):
        out.rmdir()


def _zmq(
    prepared: Prepared, stop: Stop, watch: Watch, console: Console
) -> tuple[int, CoordinatorSummary | None]:
    out = prepared.options.out
    write_files(prepared)
    (out / "status.json").unlink(missing_ok=True)
    processes = Processes(prepared)
    try:
        processes.start()
        processes.wait(watch, stop)
    finally:
        processes.stop()
    for identifier in prepared.ids:
        if processes.running[identifier].returncode:
            console.print(
                f"{identifier} ended with code {processes.running[identifier].returncode}:"
                f" {processes.tail(identifier)}"
            )
    first = out / "hospitals" / prepared.ids[0] / "shared.safetensors"
    # ckks: the coordinator has no model
    if not (out / "shared.safetensors").exists() and first.exists():
        shutil.copy(first, out / "shared.safetensors")
    path = out / "summary.json"
    found = files.read_summary(path) if path.exists() else None
    if isinstance(found, CoordinatorSummary):
        return found.rounds_completed, found
    return 0, None  # the coordinator wrote nothing; the file is of an earlier run


def _memory(
    prepared: Prepared, stop: Stop, watch: Watch, console: Console
) -> tuple[int, CoordinatorSummary | None]:
    federation = Federation(prepared, stop, watch)
    try:
        federation.play()
    except Stopped:
        console.print("stopped")
    federation.save()
    coordinator = federation.coordinator_summary()
    federation.summarise()
    return coordinator.rounds_completed, coordinator


def _alone(
    prepared: Prepared, stop: Stop, watch: Watch, console: Console
) -> tuple[int, CoordinatorSummary | None]:
    alone = Unfederated(prepared, stop, watch)
    try:
        alone.play()
    except Stopped:
        console.print("stopped")
    alone.summarise(prepared.options.baselines and not stop())
    return 0 if stop() else prepared.options.rounds, None


class _Shown:
    """A live table on a terminal, one line a round elsewhere."""

    def __init__(self, console: Console, watch: Watch | None) -> None:
        self.console, self.watch = console, watch
        self.live = (
            Live(console=console, refresh_per_second=4)
            if console.is_terminal and not console.quiet
            else None
        )
        self.shown = 0

    def __enter__(self) -> Watch:
        if self.live is not None:
            self.live.__enter__()
        return self._show

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self.live is not None:
            self.live.__exit__(kind, error, trace)

    def _show(self, shot: Status) -> None:
        if self.watch is not None:
            self.watch(shot)
        if self.live is not None:
            self.live.update(draw(shot))
        elif shot.completed > self.shown and shot.accuracy is not None:
            self.shown = shot.completed
            left = "" if shot.seconds_left is None else f", about {shot.seconds_left:.0f} s left"
            self.console.print(
                f"round {shot.round}/{shot.rounds}: mean local test"
                f" {100 * shot.accuracy:.1f} %{left}",
                highlight=False,
            )
