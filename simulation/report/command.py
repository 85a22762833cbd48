"""`flop report`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from simulation.report.report import write_report

report_app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@report_app.command()
def report(
    folder: Annotated[
        Path,
        typer.Argument(
            help="The directory of a run: `flop sim`'s, a coordinator's, or one hospital's own."
        ),
    ],
) -> None:
    """Write report.html into a run's directory: one file, with all pictures inside.

    Example: flop report runs/sim
    """
    print(write_report(folder))
