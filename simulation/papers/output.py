"""What a view leaves behind: CSV, Markdown, PNG, and report.html with everything in one file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from simulation.papers import figures
from simulation.papers.grid import Block, Grid, Picture, majority_verdict
from simulation.papers.paper import COLUMNS
from simulation.papers.studies import Scale, Study
from simulation.papers.tables import PaperTable
from simulation.papers.views import View
from simulation.report import kit

SMOKE = "Scale smoke shows that everything runs; its figures mean nothing."


def write(view: View, grid: Grid, out: Path, command: str) -> Path:
    """Write everything under `out / view.name`; the path of its report.html."""
    folder = out / view.name
    folder.mkdir(parents=True, exist_ok=True)
    blocks = view.blocks(grid)
    tables = [block for block in blocks if isinstance(block, PaperTable)]
    for number, table in enumerate(tables, start=1):
        (folder / ("table.csv" if number == 1 else f"table-{number}.csv")).write_text(table.csv())
    divided = Picture(
        "holdings",
        "Who has what (first seed)",
        figures.holdings(grid.results[0].figures["train_counts"], _classes(grid)),
    )
    blocks.append(divided)
    for block in blocks:
        if isinstance(block, Picture):
            (folder / f"{block.name}.png").write_bytes(block.png)
    about, facts = header(grid.study, grid.scale, grid), _facts(grid)
    (folder / "README.md").write_text(_markdown(view, blocks, about, facts, command))
    (folder / "report.html").write_text(
        _page(view, grid, blocks, about, facts, command), encoding="utf-8"
    )
    return folder / "report.html"


def header(study: Study, scale: Scale, grid: Grid | None = None) -> list[str]:
    """What differs from the paper, what is ours because the paper leaves it open, and whether the
    majority class is beaten.
    """
    smoke = study.scales["smoke"] is scale
    few = (
        f" A cohort of {scale.cohort} of {scale.hospitals} is too few for the product's own"
        " default, which wants 3."
    )
    return [
        scale.note,
        *(_missing(scale, grid) if grid is not None else []),
        SMOKE if smoke else study.differs,
        *([majority_verdict(grid)] if grid is not None and not smoke else []),
        "Ours, because the paper leaves it open: " + "; ".join(study.ours) + ".",
        "Protection: plain float32, and everything in memory: an experiment measures learning."
        + few * (scale.cohort < 3),
    ]


def _missing(scale: Scale, grid: Grid) -> list[str]:
    """What this scale declares and these results do not hold."""
    models = [COLUMNS[model] for model in scale.models if model not in grid.models]
    seeds = sorted(set(scale.seeds) - {one.run.seed for one in grid.results})
    found = [f"models {', '.join(models)}"] * bool(models) + [
        f"seed{'s' * (len(seeds) > 1)} {', '.join(map(str, seeds))}"
    ] * bool(seeds)
    return [f"NOT RUN of this scale: {'; '.join(found)}."] if found else []


def _facts(grid: Grid) -> list[tuple[str, str]]:
    run, results = grid.results[0].run, grid.results
    seeds = sorted({one.run.seed for one in results})
    images = sum(map(sum, results[0].figures["train_counts"])) + sum(
        map(sum, results[0].figures["test_counts"])
    )
    return [
        ("scale", run.scale),
        (
            "data",
            f"{run.data.split('/')[-1]}, {images:,} images, {run.image_size} × {run.image_size}",
        ),
        ("hospitals", f"{run.hospitals}, {run.cohort} in a round"),
        ("partition", run.partition),
        ("rounds × local epochs", f"{run.rounds} × {run.epochs}"),
        ("batch, learning rate", f"{run.batch_size}, {run.optimizer} {run.lr:g}"),
        ("seeds", ", ".join(map(str, seeds))),
        ("trained on", ", ".join(sorted({one.figures["device"] for one in results}))),
        ("date", ", ".join(sorted({one.figures["date"] for one in results}))),
        ("seconds, all runs", f"{sum(one.figures['seconds'] for one in results):,.0f}"),
    ]


def _classes(grid: Grid) -> list[str]:
    return list(grid.results[0].figures["classes"])


def _notes(grid: Grid) -> list[str]:
    found = dict.fromkeys(note for one in grid.results for note in one.figures["notes"])
    skipped = sorted({one for result in grid.results for one in result.figures["skipped"]})
    return [*list(found)[:8], *(f"skipped: {one}" for one in skipped[:8])]


def _markdown(
    view: View,
    blocks: Sequence[Block],
    about: Sequence[str],
    facts: Sequence[tuple[str, str]],
    command: str,
) -> str:
    lines = [
        f"# {view.title}",
        "",
        *[f"- {name}: {value}" for name, value in facts],
        f"- command: `{command}`",
        "",
    ]
    lines += [*[f"> {line}" + "\n>" for line in about], ""]
    for block in blocks:
        lines += [
            (
                block.markdown()
                if isinstance(block, PaperTable)
                else f"**{block.title}**\n\n![{block.title}]({block.name}.png)\n"
            )
        ]
    return "\n".join(lines)


def _page(
    view: View,
    grid: Grid,
    blocks: Sequence[Block],
    about: Sequence[str],
    facts: Sequence[tuple[str, str]],
    command: str,
) -> str:
    shown = [
        (
            {"title": one.title, "picture": kit.embedded(one.png)}
            if isinstance(one, Picture)
            else {
                "title": one.title,
                "picture": "",
                "head": one.head,
                "rows": one.texts(),
                "note": one.note,
            }
        )
        for one in blocks
    ]
    smoke = grid.study.scales["smoke"] is grid.scale
    return kit.render(
        "experiment.html",
        Path(__file__).parent,
        title=view.title,
        kind=f"{grid.study.name}, scale {grid.results[0].run.scale}",
        facts=facts,
        warning=SMOKE if smoke else " ".join(line for line in about if "NOT" in line),
        differs=grid.scale.note + ("" if smoke else f" {grid.study.differs}"),
        blocks=shown,
        header=about,
        notes=_notes(grid),
        command=command,
    )
