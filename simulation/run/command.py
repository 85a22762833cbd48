"""`flop sim`: a whole federation on this machine."""

from __future__ import annotations

from typing import Annotated, Any

from msgspec import Meta, Struct

from federation import cli
from federation.options import of_struct
from simulation.run.options import OPTIONS, Options

sim_app = cli.app()
PANELS = {
    "": "Simulation",
    "federation": "Table federation of federation.toml",
    "model": "Table model of federation.toml",
    "training": "Table training of federation.toml",
    "protection": "Table protection of federation.toml",
}


class Printed(Struct):
    """What the command prints."""

    json: Annotated[bool, Meta(description="Print summary.json instead of sentences.")] = False


@cli.command(sim_app, OPTIONS | of_struct(Printed), PANELS)
def sim(given: dict[str, Any]) -> None:
    """Run a whole federation on this machine: one coordinator, N hospitals, securely aggregated.

    Example: flop sim --data covidx-small --model cnn3 --rounds 20 --partition skew:0.6
    """
    as_json = given.pop("json", False)
    options = Options.of(**given)  # refused before torch is loaded, which takes seconds

    from rich.console import Console

    from federation.records import files
    from simulation.run.simulate import simulate
    from simulation.run.summary import sentences

    summary = simulate(options, Console(stderr=as_json, quiet=as_json))
    told = files.encode(summary).decode() if as_json else "\n".join(sentences(summary, options.out))
    print(told)
