"""`flop coordinator`."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.live import Live

from coordinator import status
from coordinator.assemble import assemble

coordinator_app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@coordinator_app.command()
def coordinator(
    config: Annotated[
        Path, typer.Option(help="The agreed federation.toml; roster.toml lies beside it.")
    ] = Path("federation.toml"),
    out: Annotated[
        Path, typer.Option(help="Run directory; a run that was left in it goes on.")
    ] = Path("run"),
    secret: Annotated[
        Path | None,
        typer.Option(help="The coordinator's .secret file; by default the one beside the config."),
    ] = None,
    bind: Annotated[
        str,
        typer.Option(
            help=(
                "host:port to listen at, if it differs from the roster's address, e.g."
                " 0.0.0.0:5555."
            )
        ),
    ] = "",
    record: Annotated[
        bool,
        typer.Option(
            help="Keep what the coordinator sees of every round, for the leakage benchmark."
        ),
    ] = False,
    quiet: Annotated[
        bool, typer.Option(help="Print one line per event instead of a live table.")
    ] = False,
    run_id: Annotated[str, typer.Option(hidden=True, help="A simulation's run id.")] = "",
) -> None:
    """Run the coordinator of a federation until its rounds are over.

    Example: flop coordinator --config federation.toml --bind 0.0.0.0:5555
    """
    console = Console()
    table = console.is_terminal and not quiet
    service = assemble(
        config,
        out,
        secret,
        bind=bind,
        record=record,
        run=bytes.fromhex(run_id) if run_id else None,
        tell=console.log if table else _say,
    )
    for name in (signal.SIGINT, signal.SIGTERM):
        signal.signal(name, lambda number, frame: service.stop())
    if not table:
        raise typer.Exit(service.serve())
    with Live(console=console, refresh_per_second=4) as live:
        code = service.serve(lambda shot: live.update(status.draw(shot)))
    raise typer.Exit(code)


def _say(text: str) -> None:
    print(text, flush=True)
