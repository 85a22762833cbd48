"""`flop node` and `flop doctor`: run a hospital, and check what it needs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from federation import cli

node_app = cli.app()
doctor_app = cli.app()


@node_app.command()
def node(
    config: Annotated[Path, typer.Option(help="This hospital's hospital.toml.")] = Path(
        "hospital.toml"
    ),
) -> None:
    """Run one hospital until the federation's rounds are over.

    A hospital that is stopped and started again continues where it was.

    Example: flop node --config hospital.toml
    """
    from hospital_node.service import serve
    from hospital_node.settings import Hospital

    raise typer.Exit(serve(Hospital(config), _say))


@doctor_app.command()
def doctor(
    config: Annotated[Path, typer.Option(help="This hospital's hospital.toml.")] = Path(
        "hospital.toml"
    ),
) -> None:
    """Check everything that a hospital needs, step by step, and name the first failure.

    Example: flop doctor --config hospital.toml
    """
    from hospital_node.doctor import examine

    raise typer.Exit(0 if examine(config, _say) else 2)


def _say(text: str) -> None:
    print(text, flush=True)
