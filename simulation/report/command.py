"""`flop report` and `flop schema`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from federation.errors import ConfigError
from federation.records import RECORDS, files

report_app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
schema_app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


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
    from simulation.report.report import write_report  # loads matplotlib

    print(write_report(folder))


@schema_app.command()
def schema(
    name: Annotated[
        str | None, typer.Argument(help="One of the names that `flop schema` lists.")
    ] = None,
) -> None:
    """Print the JSON Schema of a file of a run directory; without NAME, list the files.

    Example: flop schema simulation
    """
    if name is None:
        for known, record in RECORDS.items():
            print(f"{known:<17} {record.path:<38} {record.about}")
    elif name in RECORDS:
        print(json.dumps(files.schema(RECORDS[name].kind), indent=1))
    else:
        raise ConfigError(f"flop schema: there is no record {name!r}; choose {', '.join(RECORDS)}")
