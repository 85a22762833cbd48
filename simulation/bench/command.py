"""`flop bench`: what protections, rounds and training cost on this machine. Each sub-command is a
module that is loaded when called.

Example: flop bench masking
"""

from __future__ import annotations

import json
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from federation.protections import DEFAULT, UNPROTECTED, names

PROTECTING = [name for name in names() if name != UNPROTECTED]
bench_app = typer.Typer(
    add_completion=False, pretty_exceptions_enable=False, no_args_is_help=True, help=__doc__
)

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, and nothing else.")]
Params = Annotated[float, typer.Option(help="Shared parameters, e.g. 11e6.", min=1)]
Cohort = Annotated[int, typer.Option(help="Hospitals in a round.", min=1)]
Bits = Annotated[
    int | None, typer.Option(help="Bits of a quantised value; by default what fits the ring.")
]
Ring = Annotated[int, typer.Option(help="Bits of a sum: 16 | 24 | 32")]


@bench_app.command()
def masking(
    params: Params = 11e6,
    cohort: Cohort = 5,
    ring: Ring = 32,
    bits: Bits = None,
    as_json: AsJson = False,
) -> None:
    """Masks beside the keystream that they need: a hospital's protection, the coordinator's sum,
    unmasking one dropout.

    Example: flop bench masking --params 11e6 --cohort 5 --ring 32 --json
    """
    from simulation.bench import masking as bench

    show(bench.run(params, cohort, ring, bits), as_json)


@bench_app.command()
def ckks(
    params: Params = 11e6,
    cohort: Cohort = 5,
    bits: Annotated[int, typer.Option(help="Bits of a quantised value.")] = 16,
    as_json: AsJson = False,
) -> None:
    """Encrypted sums beside the common settings (TenSEAL's ckks_vector) and beside masked+ckks.

    Example: flop bench ckks --params 11e6 --cohort 5 --json
    """
    from simulation.bench import ckks as bench

    show(bench.run(params, cohort, bits), as_json)


@bench_app.command(name="round")
def whole_round(
    model: Annotated[
        str, typer.Option(help="The model whose shared layers travel: resnet18, cnn3, …")
    ] = "resnet18",
    cohort: Cohort = 5,
    protection: Annotated[str, typer.Option(help=" | ".join(PROTECTING))] = DEFAULT,
    bits: Bits = None,
    ring: Ring = 16,
    as_json: AsJson = False,
) -> None:
    """A protected round beside a plain one, beyond training: seconds and memory of every party, all
    on one core.

    Example: flop bench round --model resnet18 --cohort 5 --protection ckks --json
    """
    from simulation.bench import round as bench

    show(bench.run(model, cohort, protection, bits, ring), as_json)


@bench_app.command()
def crowd(
    hospitals: Annotated[int, typer.Option(help="Hospitals in the round.", min=3)] = 1000,
    params: Params = 1e5,
    dropouts: Annotated[
        float,
        typer.Option(
            help="Share of them that drop out after they have shared their keys.", min=0, max=0.5
        ),
    ] = 0.3,
    corrupt: Annotated[
        float,
        typer.Option(
            help="Share that the neighbour graph reckons with as corrupt.", min=0, max=0.34
        ),
    ] = 0.1,
    ring: Ring = 32,
    graph: Annotated[str, typer.Option(help="sparse | complete")] = "sparse",
    as_json: AsJson = False,
) -> None:
    """One masked round of many hospitals on the sparse neighbour graph: a hospital's seconds, the
    coordinator's, signatures apart.

    Example: flop bench crowd --hospitals 1000 --params 1e5 --json
    """
    from simulation.bench import crowd as bench

    show(bench.run(hospitals, params, dropouts, corrupt, ring, graph), as_json)


@bench_app.command()
def training(
    model: Annotated[str, typer.Option(help="One of the models of `flop sim --help`.")] = "cnn3",
    image_size: Annotated[int, typer.Option(help="Pixels a side.")] = 64,
    examples: Annotated[int, typer.Option(help="Images in an epoch.", min=1)] = 1024,
    device: Annotated[str, typer.Option(help="auto | cpu | cuda | cuda:N | mps")] = "auto",
    as_json: AsJson = False,
) -> None:
    """Our local training beside the plainest PyTorch loop.

    Example: flop bench training --model cnn3 --image-size 64 --json
    """
    from simulation.bench import training as bench

    show(bench.run(model=model, image_size=image_size, examples=examples, device=device), as_json)


@bench_app.command()
def phantom(
    seed: Annotated[int, typer.Option(help="Of the images and of the classifiers.")] = 0,
    image_size: Annotated[int, typer.Option(help="Pixels a side.")] = 64,
    as_json: AsJson = False,
) -> None:
    """Whether the built-in data set is a fair small problem: three classifiers of growing strength
    on it.

    Example: flop bench phantom --json
    """
    from simulation.bench import phantom as bench

    show(bench.measure(seed, image_size), as_json)


def show(figures: dict[str, Any], as_json: bool) -> None:
    """Print what was measured: JSON, or a table with nested figures indented."""
    if as_json:
        print(json.dumps(figures, indent=2))
        return
    table = Table(show_header=False, box=None)
    for name, value in _rows(figures):
        table.add_row(name, value)
    Console().print(table)


def _rows(figures: dict[str, Any], indent: str = "") -> list[tuple[str, str]]:
    rows = []
    for name, value in figures.items():
        if isinstance(value, dict):
            rows += [(indent + name, ""), *_rows(value, indent + "  ")]
        else:
            rows.append((indent + name, f"{value:.4g}" if isinstance(value, float) else str(value)))
    return rows
