"""`flop sim`: a whole federation on this machine."""

from __future__ import annotations

import json
import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.live import Live

from coordinator.status import draw
from federation.records.state import Status
from learning import device as devices
from simulation.run.federate import Federation, Stopped, read_json
from simulation.run.options import Options, Prepared, prepare
from simulation.run.summary import global_test, merge, round_metrics, sentences

sim_app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
Watch = Callable[[Status], None]


@sim_app.command()
def sim(
    data: Annotated[
        str,
        typer.Option(
            help="phantom-cxr (built in), a data set's name under FLOP_DATA, or a folder."
        ),
    ] = "phantom-cxr",
    image_size: Annotated[
        int, typer.Option(help="Images are resized to this many pixels a side, once, on loading.")
    ] = 64,
    model: Annotated[
        str, typer.Option(help="cnn3, resnet18, or another of learning/models.")
    ] = "cnn3",
    private: Annotated[
        list[str] | None,
        typer.Option(help="Name pattern of layers that stay private; by default the classifier."),
    ] = None,
    private_last: Annotated[
        int | None, typer.Option(help="Keep the last K layers private.")
    ] = None,
    algorithm: Annotated[str, typer.Option(help="flop | fedavg | local | central")] = "flop",
    protection: Annotated[str, typer.Option(help="plain | masked | ckks | masked+ckks")] = "masked",
    bits: Annotated[
        int | None, typer.Option(help="Bits of a quantised value; 0: float32 (plain only).")
    ] = None,
    ring: Annotated[
        int | None,
        typer.Option(help="Bits of a sum: 16 | 24 | 32; the narrowest that --bits fits in"),
    ] = None,
    threshold: Annotated[
        int,
        typer.Option(
            help="Hospitals that must survive a round; 0: two thirds of the cohort, and one."
        ),
    ] = 0,
    weighting: Annotated[str, typer.Option(help="uniform | examples")] = "uniform",
    hospitals: Annotated[int, typer.Option(help="How many hospitals.")] = 5,
    cohort: Annotated[
        int | None, typer.Option(help="How many take part in a round; by default all.")
    ] = None,
    min_cohort: Annotated[
        int | None, typer.Option(help="Fewer survivors than this abort a round; by default 3.")
    ] = None,
    rounds: Annotated[int, typer.Option(help="How many rounds.")] = 5,
    local_epochs: Annotated[int, typer.Option(help="Epochs of local training in a round.")] = 1,
    batch_size: Annotated[int, typer.Option(help="Images in a batch.")] = 32,
    lr: Annotated[float, typer.Option(help="Learning rate.")] = 0.001,
    optimizer: Annotated[str, typer.Option(help="adam | sgd")] = "adam",
    beta: Annotated[float, typer.Option(help="Server step: shared += beta * mean(update).")] = 1.0,
    pretrained: Annotated[
        bool, typer.Option(help="Start from ImageNet weights (downloads them).")
    ] = False,
    partition: Annotated[
        str, typer.Option(help="iid | skew:LAMBDA[:CHUNKS] | dirichlet:ALPHA | by:COLUMN")
    ] = "iid",
    transport: Annotated[
        str, typer.Option(help="zmq: real processes on loopback | memory: one process, same bytes")
    ] = "zmq",
    device: Annotated[str, typer.Option(help="auto | cpu | cuda | cuda:N | mps")] = "auto",
    seed: Annotated[int, typer.Option(help="Same seed, same bytes.")] = 0,
    record: Annotated[
        bool, typer.Option(help="Keep what the coordinator sees, for `flop attack`.")
    ] = False,
    baselines: Annotated[
        bool, typer.Option(help="Also compute majority class, linear model, and training alone.")
    ] = True,
    out: Annotated[
        Path | None, typer.Option(help="Run directory; by default a new one under runs/.")
    ] = None,
    set: Annotated[
        list[str] | None,
        typer.Option(help="Any key of federation.toml, e.g. training.weight_decay=1e-4."),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print summary.json instead of sentences.")
    ] = False,
) -> None:
    """Run a whole federation on this machine: one coordinator, N hospitals, securely aggregated.

    Example: flop sim --data covidx-small --model cnn3 --rounds 20 --partition skew:0.6
    """
    options = Options(
        data=data,
        image_size=image_size,
        model=model,
        private=tuple(private or ()),
        private_last=private_last,
        algorithm=algorithm,
        protection=protection,
        bits=bits,
        ring=ring,
        threshold=threshold,
        weighting=weighting,
        hospitals=hospitals,
        cohort=cohort,
        min_cohort=min_cohort,
        rounds=rounds,
        local_epochs=local_epochs,
        batch_size=batch_size,
        lr=lr,
        optimizer=optimizer,
        beta=beta,
        pretrained=pretrained,
        partition=partition,
        transport=transport,
        device=device,
        seed=seed,
        record=record,
        baselines=baselines,
        out=out or Path("runs") / time.strftime("%Y%m%d-%H%M%S"),
        set=tuple(set or ()),
    )
    summary = simulate(options, Console(stderr=as_json, quiet=as_json))
    print(json.dumps(summary) if as_json else "\n".join(sentences(summary, options.out)))


class Stop:
    """Set by Ctrl-C or SIGTERM; looked at between two batches."""

    def __init__(self) -> None:
        self.asked = False
        for name in (signal.SIGINT, signal.SIGTERM):
            signal.signal(name, self._ask)

    def _ask(self, number: int, frame: object) -> None:
        self.asked = True

    def __call__(self) -> bool:
        return self.asked


def simulate(options: Options, console: Console) -> dict[str, Any]:
    """Run it, show it, write the run directory; its summary. Raises ConfigError, DataError."""
    began = time.monotonic()
    fresh = not options.out.exists()
    try:
        prepared = prepare(options)
    except Exception:
        if fresh:
            shutil.rmtree(options.out, ignore_errors=True)
        raise
    stop = Stop()
    play = _alone if options.alone else _memory if options.transport == "memory" else _zmq
    with _shown(console) as watch:
        hospitals, coordinator = play(prepared, stop, watch, console)
    summary = merge(prepared, hospitals, coordinator, time.monotonic() - began, stop())
    lines = round_metrics(prepared)
    (options.out / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    if not options.alone and not stop():
        summary["global_test"] = global_test(prepared, devices.choose(options.device))
        summary["seconds"]["total"] = time.monotonic() - began
    (options.out / "summary.json").write_text(json.dumps(summary, indent=1))
    _report(options.out)
    return summary


def _zmq(
    prepared: Prepared, stop: Stop, watch: Watch, console: Console
) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    from simulation.run.processes import Processes, write_files

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
    found = [
        read_json(out / "hospitals" / identifier / "summary.json") for identifier in prepared.ids
    ]
    first = out / "hospitals" / prepared.ids[0] / "shared.safetensors"
    # ckks: the coordinator has no model
    if not (out / "shared.safetensors").exists() and first.exists():
        shutil.copy(first, out / "shared.safetensors")
    return [one for one in found if one], read_json(out / "summary.json")


def _memory(
    prepared: Prepared, stop: Stop, watch: Watch, console: Console
) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    federation = Federation(prepared, stop, watch)
    try:
        federation.play()
    except Stopped:
        console.print("stopped")
    federation.save()
    coordinator = federation.coordinator_summary()
    return federation.summaries(prepared.options.baselines, stop), coordinator


def _alone(
    prepared: Prepared, stop: Stop, watch: Watch, console: Console
) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    from simulation.run.alone import Alone

    alone = Alone(prepared, stop, watch)
    try:
        alone.play()
    except Stopped:
        console.print("stopped")
    done = 0 if stop() else prepared.options.rounds
    return alone.summaries(prepared.options.baselines and not stop()), {"rounds_completed": done}


class _shown:
    """A live table on a terminal, one line a round elsewhere."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self.live = (
            Live(console=console, refresh_per_second=4)
            if console.is_terminal and not console.quiet
            else None
        )
        self.told = 0

    def __enter__(self) -> Watch:
        if self.live is not None:
            self.live.__enter__()
        return self._show

    def __exit__(self, *error: Any) -> None:
        if self.live is not None:
            self.live.__exit__(*error)

    def _show(self, shot: Status) -> None:
        if self.live is not None:
            self.live.update(draw(shot))
        elif shot.completed > self.told and shot.accuracy is not None:
            self.told = shot.completed
            left = "" if shot.seconds_left is None else f", about {shot.seconds_left:.0f} s left"
            self.console.print(
                f"round {shot.round}/{shot.rounds}: mean local test"
                f" {100 * shot.accuracy:.1f} %{left}",
                highlight=False,
            )


def _report(folder: Path) -> None:
    try:
        from simulation.report.report import write_report
    except ImportError:
        return
    write_report(folder)
