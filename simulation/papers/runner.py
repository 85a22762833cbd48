"""Many runs side by side, each kept as soon as it is done: started again, only what is missing
trains.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from safetensors.numpy import load_file, save_file

from federation.files import write_whole
from simulation import engines
from simulation.papers.studies import StudyRun
from simulation.papers.train import Result, execute

Tell = Callable[[str], None]


class Results:
    """`root/runs/STUDY-SCALE/FRAMEWORK-MODEL-seedN.json`, and a `.safetensors` beside it where a
    run has maps.
    """

    def __init__(self, root: Path) -> None:
        self.root = root

    def path(self, run: StudyRun) -> Path:
        return self.root / "runs" / f"{run.study}-{run.scale}" / f"{run.name}.json"

    def read(self, run: StudyRun) -> Result | None:
        """A finished run of exactly these settings, or None."""
        path = self.path(run)
        try:
            found: dict[str, Any] = json.loads(path.read_text())
        except (OSError, ValueError):
            return None
        maps = path.with_suffix(".safetensors")
        if found.get("digest") != run.digest or (run.maps and not maps.exists()):
            return None
        return Result(run, found, load_file(maps) if run.maps else {})

    def write(self, result: Result) -> None:
        """Complete when the JSON file is there."""
        path = self.path(result.run)
        path.parent.mkdir(parents=True, exist_ok=True)
        if result.maps:
            save_file(result.maps, path.with_suffix(".safetensors"))
        stamp = {"digest": result.run.digest, "date": time.strftime("%Y-%m-%d", time.gmtime())}
        write_whole(path, json.dumps(stamp | result.figures, indent=1))


def train(
    runs: Sequence[StudyRun], store: Results, engine: str, jobs: int, tell: Tell
) -> list[Result]:
    """The results of all runs, in their order. Raises ConfigError, DataError; finished runs stay
    finished.
    """
    missing = [run for run in runs if store.read(run) is None]
    tell(
        f"{len(runs)} runs: {len(runs) - len(missing)} are there, {len(missing)} to train"
        + (f", {jobs} at a time" if missing else "")
    )
    side_by_side, cache = engines.engine(engine), (store.root / "cache").absolute()
    began = time.monotonic()
    results = (
        side_by_side(execute, [(run, cache) for run in missing], min(jobs, len(missing)))
        if missing
        else ()
    )
    for done, result in enumerate(results, start=1):
        store.write(result)
        spent = time.monotonic() - began
        left = spent / done * (len(missing) - done)
        line = (
            f"{done}/{len(missing)} {result.run.study} {result.run.name}:"
            f" {result.figures['seconds']:.0f} s"
        )
        tell(line + (f", about {_time(left)} left" if left else ""))
    found = [store.read(run) for run in runs]
    return [result for result in found if result is not None]


def default_jobs() -> int:
    return os.cpu_count() or 1


def _time(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.0f} min"
