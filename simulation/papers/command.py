"""`flop experiment`: the papers' tables and figures, one command each."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from federation.errors import ConfigError
from simulation.papers.declared import STUDIES
from simulation.papers.studies import PAPERS, SCALES, runs

experiment_app = typer.Typer(
    add_completion=False,
    pretty_exceptions_enable=False,
    no_args_is_help=True,
    help="Repeat the papers' tables and figures.\n\nExample: flop experiment list",
)


@experiment_app.command("list")
def list_(
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
) -> None:
    """List the tables and figures, and the studies that they are views of.

    Example: flop experiment list
    """
    from simulation.papers.views import VIEWS  # loads matplotlib, so not for a help text

    if as_json:
        print(
            json.dumps(
                [
                    {
                        "name": view.name,
                        "study": view.study,
                        "title": view.title,
                        "paper": PAPERS[STUDIES[view.study].paper],
                    }
                    for view in VIEWS.values()
                ]
            )
        )
        return
    for study in STUDIES.values():
        print(f"{study.name}: {study.title}")
        print(f"    paper: {PAPERS[study.paper]}")
        for scale, size in study.scales.items():
            print(f"    --scale {scale:<6} {len(runs(study, scale)):>2} runs. {size.note}")
        for view in VIEWS.values():
            if view.study == study.name:
                print(f"    {view.name:<15} {view.title}")


@experiment_app.command("run")
def run(
    name: Annotated[
        str,
        typer.Argument(
            help="A table or figure, a study (all its views), or `all`; see `flop experiment list`."
        ),
    ],
    scale: Annotated[
        str,
        typer.Option(
            help="smoke: seconds | cpu: under an hour on 2 cores | full: the paper's own size"
        ),
    ] = "cpu",
    engine: Annotated[
        str, typer.Option(help="joblib: processes on this machine | ray: a Ray cluster")
    ] = "joblib",
    out: Annotated[
        Path, typer.Option(help="Results; finished runs in it are not trained again.")
    ] = Path("runs/papers"),
    seeds: Annotated[
        list[int] | None, typer.Option(help="Repeat for several; by default the study's own.")
    ] = None,
    models: Annotated[
        list[str] | None, typer.Option(help="Only these models of the study; repeat for several.")
    ] = None,
    jobs: Annotated[
        int | None, typer.Option(min=1, help="Runs at a time; by default what fits this machine.")
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the paths of the reports as JSON.")
    ] = False,
) -> None:
    """Train what is missing and write CSV, Markdown, PNG and report.html under OUT/NAME.

    Example: flop experiment run flop-table3 --scale cpu --out runs/papers
    """
    # these load torch and matplotlib, so not for a help text
    from simulation.papers.grid import Grid
    from simulation.papers.output import header, write
    from simulation.papers.runner import Results, default_jobs, train
    from simulation.papers.views import names_of

    views = names_of(name)
    if not views:
        raise ConfigError(f"there is no experiment {name!r}; `flop experiment list` names them")
    if scale not in SCALES:
        raise ConfigError(f"--scale {scale}: choose {', '.join(SCALES)}")
    console, store, written = Console(stderr=as_json, highlight=False), Results(out), []
    for study in [
        study for study in STUDIES.values() if any(view.study == study.name for view in views)
    ]:
        wanted = runs(study, scale, seeds)
        if models:
            if strange := sorted(set(models) - {one.model for one in wanted}):
                raise ConfigError(
                    f"--models {strange[0]}: {study.name} at scale {scale} has"
                    f" {', '.join(study.scales[scale].models)}"
                )
            wanted = [one for one in wanted if one.model in models]
        console.print(f"{study.name}: {study.title}")
        for line in header(study, study.scales[scale]):
            console.print(f"  {line}", soft_wrap=True)
        grid = Grid(
            study,
            study.scales[scale],
            train(wanted, store, engine, jobs or default_jobs(), console.print),
        )
        options = "".join(f" --seeds {seed}" for seed in seeds or ()) + "".join(
            f" --models {model}" for model in models or ()
        )
        for view in views:
            if view.study == study.name:
                written.append(
                    write(
                        view, grid, out, f"flop experiment run {view.name} --scale {scale}{options}"
                    )
                )
                console.print(f"  {view.name}: {written[-1]}", soft_wrap=True)
    if as_json:
        print(json.dumps([str(path) for path in written]))
