"""`flop attack`: one attack on a recorded run, or the whole leakage matrix."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from attacks.cells import Cell, affordable, default, full_matrix

if TYPE_CHECKING:
    from attacks.gates import Gate
    from attacks.recorded import Seen

attack_app = typer.Typer(
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Attack what a coordinator saw.\n\n"
    "Example: flop attack run --run runs/one --attack varpro",
)


def _root() -> Path | None:
    folder = os.environ.get("FLOP_DATA", "")
    return Path(folder) if folder else None


@attack_app.command()
def run(
    run: Annotated[
        Path, typer.Option(help="A run directory that was recorded: flop sim --record.")
    ],
    attack: Annotated[
        str,
        typer.Option(help="A name of flop attack list; varpro needs no private layer."),
    ] = "varpro",
    round: Annotated[int, typer.Option(help="Which recorded round.")] = 1,
    images: Annotated[
        int, typer.Option(help="How many images to search for in an update (the attacker's guess).")
    ] = 1,
    steps: Annotated[
        int | None, typer.Option(help="Steps of the search; by default the attack's own.")
    ] = None,
    restarts: Annotated[
        int | None, typer.Option(help="Starts, chosen among by the objective alone.")
    ] = None,
    public: Annotated[
        str | None,
        typer.Option(
            help="A data set of the same kind that the attacker has, for attacks that need public"
            " images, such as disaggregation."
        ),
    ] = None,
    most: Annotated[int, typer.Option(help="Attack at most this many of the round's updates.")] = 8,
    device: Annotated[str, typer.Option(help="auto | cpu | cuda | cuda:N | mps")] = "auto",
    seed: Annotated[int, typer.Option(help="Same seed, same start of the search.")] = 0,
    out: Annotated[
        Path | None, typer.Option(help="Where the pictures go; by default into the run directory.")
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the objective of each reconstruction.")
    ] = False,
) -> None:
    """Attack the updates that a coordinator recorded. It sees no truth, so it writes pictures and
    no scores.

    Example: flop sim --record --protection plain --out runs/a && flop attack run --run runs/a
    --attack varpro
    """
    from attacks.front import attack as run_attack
    from attacks.kinds import kind_of
    from attacks.recorded import load
    from federation.errors import ConfigError

    if not (run / "config.toml").exists():
        raise ConfigError(
            f"--run {run}: there is no run directory of ours; make one with flop sim --record --out"
            f" {run}"
        )
    if min(images, most, steps or 1, restarts or 1) < 1:
        raise ConfigError("--images, --most, --steps and --restarts: at least 1 each")
    seen = load(run, round)[:most]
    knowledge: dict[str, Any] = {} if public is None else {"public": _public(public, seen)}
    leak = run_attack(
        attack,
        seen,
        images=images,
        steps=steps,
        restarts=restarts,
        seed=seed,
        device=device,
        **knowledge,
    )
    folder = out or run / "attacks" / f"{attack}-round-{round}"
    folder.mkdir(parents=True, exist_ok=True)
    kind = kind_of(leak.attack)
    kind.save(leak.answer, folder)
    if as_json:
        said = {
            "attack": attack,
            "round": round,
            "steps": leak.answer.steps,
            "seconds": leak.answer.seconds,
            "out": str(folder),
        }
        print(json.dumps(said | kind.facts(leak.answer)))
    else:
        print(
            f"{attack} on {len(seen)} observations of round {round}: {leak.answer.steps} steps in"
            f" {leak.answer.seconds:.0f} s; see {folder}"
        )


def _public(data: str, seen: Sequence[Seen]) -> np.ndarray:
    """Every training image of a data set, (n, C, H, W) in [0, 1], in the size that was attacked."""
    from learning.data import open_dataset

    size = seen[0].observation.image_size if seen else 64
    part = open_dataset(data, image_size=size, root=_root()).train
    return np.asarray(part.load(np.arange(len(part))).images.numpy() / 255.0)


@attack_app.command("list")
def list_attacks(
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
) -> None:
    """List the attacks: what each needs to be told or to have seen, what it answers, its source.

    Example: flop attack list
    """
    from rich.table import Table

    from attacks.methods import ATTACKS
    from attacks.observation import NEEDS

    if as_json:
        rows = [
            {
                "name": attack.name,
                "title": attack.title,
                "answers": attack.answers.about,
                "needs": {word: NEEDS[word] for word in NEEDS if word in attack.needs},
                "paper": attack.paper,
            }
            for attack in ATTACKS.values()
        ]
        print(json.dumps(rows))
        return
    table = Table(box=None, pad_edge=False)
    table.add_column("attack", no_wrap=True)  # what is typed behind --attack
    for column in ("what it is", "answers", "needs", "source"):
        table.add_column(column, overflow="fold")
    for attack in ATTACKS.values():
        needs = ", ".join(word.replace("_", " ") for word in NEEDS if word in attack.needs)
        table.add_row(attack.name, attack.title, attack.answers.about, needs, attack.paper)
    Console().print(table)
    Console().print("\nneeds:")
    for word, what in NEEDS.items():
        Console().print(f"  {word.replace('_', ' ')}: {what}", highlight=False)


@attack_app.command()
def bench(
    data: Annotated[
        str,
        typer.Option(
            help="phantom-cxr (built in), a data set's name under FLOP_DATA, or a folder."
        ),
    ] = "phantom-cxr",
    models: Annotated[
        str, typer.Option(help="Models beside lenet-dlg, by commas; resnet18 adds minutes.")
    ] = "lenet-dlg-relu,cnn3",
    images: Annotated[int, typer.Option(help="Images attacked in each cell.")] = 8,
    image_size: Annotated[int, typer.Option(help="Pixels a side.")] = 32,
    steps: Annotated[
        int | None,
        typer.Option(
            help="Steps of every search; by default 100, or the attacks' own with --full."
        ),
    ] = None,
    full: Annotated[
        bool,
        typer.Option("--full", help="The product of the axes instead of one at a time; hours."),
    ] = False,
    gates: Annotated[
        bool,
        typer.Option(
            "--gates", help="Run the benchmark's own gates instead; exit 1 where one fails."
        ),
    ] = False,
    gate: Annotated[list[str] | None, typer.Option(help="With --gates: only these.")] = None,
    jobs: Annotated[int, typer.Option(help="Cells at a time.")] = os.cpu_count() or 1,
    engine: Annotated[
        str, typer.Option(help="joblib: processes on this machine | ray: a Ray cluster")
    ] = "joblib",
    device: Annotated[str, typer.Option(help="auto | cpu | cuda | cuda:N | mps")] = "cpu",
    seed: Annotated[int, typer.Option(help="Chooses the images and the starts.")] = 0,
    out: Annotated[
        Path, typer.Option(help="Run directory; the cells that are finished there are kept.")
    ] = Path("runs/leakage"),
    as_json: Annotated[bool, typer.Option("--json", help="Print the rows.")] = False,
) -> None:
    """Measure what a coordinator can reconstruct, in every setting of the leakage matrix.

    Example: flop attack bench --data covidx-small --models cnn3,resnet18 --images 20
    """
    import msgspec

    from attacks import matrix, report, words
    from learning import device as devices
    from simulation import engines

    console = Console(stderr=True, quiet=as_json)
    place = str(devices.choose(device))
    if gates:
        raise typer.Exit(_gates(gate, place, out, console, as_json))
    engines.engine(engine)
    chosen = tuple(name for name in models.split(",") if name)
    wanted = steps if steps is not None or full else QUICK_STEPS
    base = Cell(
        dataset=data,
        images=images,
        image_size=image_size,
        seed=seed,
        steps=wanted,
        restarts=None if full else 1,
    )
    todo = (
        full_matrix(base, ("lenet-dlg", *chosen))
        if full
        else [affordable(cell) for cell in default(base, chosen)]
    )
    bar = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=console,
    )
    with bar:
        task = bar.add_task("cells", total=len(todo))
        rows = matrix.run_all(
            todo,
            out,
            root=_root(),
            device=place,
            jobs=jobs,
            engine=engine,
            told=lambda done, of, row: bar.update(
                task, completed=done, description=f"{row.attack} on {row.model}"
            ),
        )
    about = (
        f"{len(todo)} cells on {data}, {images} images of {image_size} pixels, fewer where a model"
        f" is large; seed {seed}, on {place}."
    )
    page = report.write(out, todo, rows, _kept_gates(out), about)
    print(
        msgspec.json.encode(rows).decode()
        if as_json
        else f"{page}\n" + "\n".join(words.headline(rows))
    )


QUICK_STEPS = 100


def _gates(names: list[str] | None, device: str, out: Path, console: Console, as_json: bool) -> int:
    from attacks.gate_trials import Scale
    from attacks.gates import GATES
    from federation.errors import ConfigError

    unknown = sorted(set(names or ()) - set(GATES))
    if unknown:
        raise ConfigError(f"--gate {unknown[0]}: there is no such gate; choose {', '.join(GATES)}")
    done: list[Gate] = []
    for name in names or GATES:
        console.print(f"{name} …")
        row = GATES[name](Scale(root=_root(), device=device))
        done.append(row)
        console.print(
            f"  {'passed' if row.passed else 'FAILED'}: {row.figure:.1f} {row.unit}"
            f" ({row.threshold:.1f}); {row.detail}"
        )
        kept = {gate.name: gate for gate in [*_kept_gates(out), row]}
        out.mkdir(parents=True, exist_ok=True)
        (out / "gates.json").write_text(
            json.dumps([asdict(gate) for gate in kept.values()], indent=1)
        )
    if as_json:
        print(json.dumps([asdict(row) for row in done]))
    return 0 if all(row.passed for row in done) else 1


def _kept_gates(out: Path) -> list[Gate]:
    """The gates that were run into this directory, for its report."""
    from attacks.gates import Gate

    path = out / "gates.json"
    return [Gate(**row) for row in json.loads(path.read_text())] if path.exists() else []
