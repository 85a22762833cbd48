"""`flop models` and `flop data`: what there is to choose from."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

AsJson = Annotated[bool, typer.Option("--json", help="Print a list of objects, for programs.")]

models_app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
data_app = typer.Typer(
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Show which data there is.\n\nExample: flop data list",
)


@models_app.command()
def models(as_json: AsJson = False) -> None:
    """List the models: size, private layers by default, BatchNorm.

    Parameters are counted for 3 channels, 64 pixels a side and 3 classes. Models with BatchNorm
    train in batches of at least two.

    Example: flop models
    """
    from learning.models import REGISTRY, facts

    rows = []
    for name, spec in REGISTRY.items():
        counted = facts(name)
        rows.append(
            {
                "name": name,
                "about": spec.about,
                "parameters": counted.parameters,
                "private": list(spec.private),
                "private_parameters": counted.private_parameters,
                "batchnorm": counted.batchnorm,
            }
        )
    if as_json:
        print(json.dumps(rows))
        return
    table = Table(
        "model", "what it is", "private by default", "BatchNorm", box=None, pad_edge=False
    )
    table.add_column("parameters", justify="right")
    table.add_column("private", justify="right")
    for row in rows:
        table.add_row(
            str(row["name"]),
            str(row["about"]),
            ", ".join(REGISTRY[str(row["name"])].private),
            "yes" if row["batchnorm"] else "no",
            f"{row['parameters']:,}",
            f"{row['private_parameters']:,}",
        )
    Console().print(table)


@data_app.callback()
def data() -> None:
    """Show which data there is."""


@data_app.command("list")
def list_data(as_json: AsJson = False) -> None:
    """List the built-in sets, the sets in the folder that FLOP_DATA names, and the formats.

    Example: FLOP_DATA=/data flop data list
    """
    from learning.data import formats

    root = os.environ.get("FLOP_DATA", "")
    sets = found(Path(root)) if root else []
    if as_json:
        kinds = [
            {"name": one.name, "about": one.about, "built_in": one.built_in} for one in formats()
        ]
        print(json.dumps({"formats": kinds, "root": root or None, "sets": sets}))
        return
    console = Console(highlight=False, soft_wrap=True)
    console.print("built in:")
    for one in formats():
        if one.built_in:
            console.print(f"  {one.name}: {one.about}")
    console.print(f"\nin {root}:" if root else "\nFLOP_DATA names no folder of data sets.")
    for row in sets:
        facts = row["problem"] or (
            f"{row['format']}, {row['images']:,} images, {row['test_images']:,} to test,"
            f" classes {', '.join(row['classes'])}"
        )
        console.print(f"  {row['name']}: {facts}")
    console.print("\nformats, in the order in which they are tried:")
    for one in formats():
        if not one.built_in:
            console.print(f"  {one.name}: {one.about}")


def found(root: Path) -> list[dict[str, Any]]:
    """The data sets right under a folder: format, images and classes, or what is wrong with one.

    Raises:
        DataError: If the folder cannot be read.
    """
    from learning.data import DataError, Source, formats, open_dataset
    from learning.data.base import reading

    rows: list[dict[str, Any]] = []
    with reading(root):
        places = sorted(p for p in root.iterdir() if p.is_dir() or p.suffix == ".npz")
    for place in places:
        if place.name.startswith("."):
            continue
        row: dict[str, Any] = {"name": place.name, "problem": None}
        rows.append(row)
        try:
            source = Source(str(place))
            row["format"] = next(one.name for one in formats() if one.recognises(source))
            dataset = open_dataset(str(place))
            row["images"] = len(dataset.train)
            row["test_images"] = 0 if dataset.test is None else len(dataset.test)
            row["classes"] = list(dataset.classes)
        except DataError as error:
            row["problem"] = str(error)
    return rows
