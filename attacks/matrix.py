"""Runs the cells of the leakage matrix side by side; a cell that is finished is not run again."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec
import numpy as np
import torch

from attacks.cells import Cell, cost
from attacks.measure import measure
from attacks.row import Row
from federation.errors import ConfigError
from federation.files import write_whole
from simulation import engines

Told = Callable[[int, int, Row], None]


def run_all(
    cells: Sequence[Cell],
    out: Path,
    *,
    root: Path | None = None,
    device: str = "cpu",
    jobs: int = 2,
    engine: str = "joblib",
    told: Told = lambda done, of, row: None,
) -> list[Row]:
    """Return one row per cell, in the order of `cells`.

    Args:
        cells: What to run. A cell whose file is in `out` is read instead.
        out: The run directory; rows and pictures go to `out/cells`.
        root: The folder with the data sets.
        device: Where the attacks run.
        jobs: Cells at a time.
        engine: A name of `engines.ENGINES`.
        told: Called after every cell with the number done, the number of all and the row.

    Raises:
        ConfigError: If there is no such engine, or a file in `out` holds no row.
    """
    (out / "cells").mkdir(parents=True, exist_ok=True)
    rows = {cell: row for cell in cells if (row := _read(out, cell)) is not None}
    todo = sorted(
        (cell for cell in dict.fromkeys(cells) if cell not in rows), key=cost, reverse=True
    )
    calls = [(cell, out.absolute(), root, device) for cell in todo]
    done = len(cells) - len(todo)
    for cell, row in engines.engine(engine)(_run_and_keep, calls, min(jobs, max(1, len(todo)))):
        rows[cell] = row
        done += 1
        told(done, len(cells), row)
    return [rows[cell] for cell in cells]


def _read(out: Path, cell: Cell) -> Row | None:
    path = out / "cells" / f"{cell.key}.json"
    if not path.exists():
        return None
    try:
        return msgspec.json.decode(path.read_bytes(), type=Row)
    except msgspec.DecodeError as error:
        raise ConfigError(
            f"{path}: holds no row ({error}); delete it, and it is run again"
        ) from None


def _run_and_keep(cell: Cell, out: Path, root: Path | None, device: str) -> tuple[Cell, Row]:
    torch.set_num_threads(1)
    row, panel = measure(cell, root=root, device=device)
    if panel is not None:
        with (out / "cells" / f"{cell.key}.npz").open("wb") as file:
            np.savez_compressed(file, allow_pickle=False, **panel)
    write_whole(out / "cells" / f"{cell.key}.json", msgspec.json.encode(row))
    return cell, row
