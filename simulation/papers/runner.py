"""Many runs side by side, each kept as soon as it is done: started again, only what is missing trains."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import joblib
from safetensors.numpy import load_file, save_file

from federation.errors import ConfigError
from simulation.papers.studies import Run
from simulation.papers.train import Result, execute

Tell = Callable[[str], None]


class Store:
    """`root/runs/STUDY-SCALE/FRAMEWORK-MODEL-seedN.json`, and a `.safetensors` beside it where a run has maps."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def path(self, run: Run) -> Path:
        return self.root / "runs" / f"{run.study}-{run.scale}" / f"{run.name}.json"

    def read(self, run: Run) -> Result | None:
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
        temporary = path.with_suffix(".part")
        temporary.write_text(json.dumps(stamp | result.figures, indent=1))
        temporary.replace(path)


def train(runs: Sequence[Run], store: Store, engine: str, jobs: int, tell: Tell) -> list[Result]:
    """The results of all runs, in their order. Raises ConfigError, DataError; finished runs stay finished."""
    missing = [run for run in runs if store.read(run) is None]
    tell(f"{len(runs)} runs: {len(runs) - len(missing)} are there, {len(missing)} to train" + (f", {jobs} at a time" if missing else ""))
    if engine not in ENGINES:
        raise ConfigError(f"--engine {engine}: choose {' or '.join(ENGINES)}")
    began = time.monotonic()
    results = ENGINES[engine](missing, store.root / "cache", min(jobs, len(missing))) if missing else ()
    for done, result in enumerate(results, start=1):
        store.write(result)
        spent = time.monotonic() - began
        left = spent / done * (len(missing) - done)
        line = f"{done}/{len(missing)} {result.run.study} {result.run.name}: {result.figures['seconds']:.0f} s"
        tell(line + (f", about {_time(left)} left" if left else ""))
    found = [store.read(run) for run in runs]
    return [result for result in found if result is not None]


def _processes(missing: Sequence[Run], cache: Path, jobs: int) -> Iterator[Result]:
    """Processes on this machine; each result as soon as it is there."""
    with joblib.parallel_config("loky"):
        yield from joblib.Parallel(n_jobs=jobs, return_as="generator_unordered")(joblib.delayed(execute)(run, cache) for run in missing)


def _cluster(missing: Sequence[Run], cache: Path, jobs: int) -> Iterator[Result]:
    """The Ray cluster that RAY_ADDRESS names, or one on this machine; each result as soon as it is there.

    Not through joblib's Ray backend: that one gives all results at the end, and a grid that is stopped would lose what it has.
    """
    try:
        import ray
    except ImportError:
        raise ConfigError("--engine ray: Ray is not installed; pip install 'flop-federation[ray]', or leave --engine out") from None
    there = {name: os.environ[name] for name in ("FLOP_DATA", "PYTHONPATH") if name in os.environ}
    ray.init(ignore_reinit_error=True, include_dashboard=False, log_to_driver=False, runtime_env={"env_vars": there})
    share = min(1.0, ray.cluster_resources().get("GPU", 0) / jobs)  # of an accelerator; a task that asks for none sees none
    task = ray.remote(num_cpus=1, num_gpus=share, max_retries=0)(execute)
    waiting = list(missing)
    running: list[Any] = []
    while waiting or running:
        while waiting and len(running) < jobs:
            running.append(task.remote(waiting.pop(0), cache.absolute()))
        ready, running = ray.wait(running, num_returns=1)
        try:
            yield ray.get(ready[0])
        except ray.exceptions.RayTaskError as error:
            raise error.cause from None


ENGINES: dict[str, Callable[[Sequence[Run], Path, int], Iterable[Result]]] = {"joblib": _processes, "ray": _cluster}


def default_jobs() -> int:
    return os.cpu_count() or 1


def _time(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.0f} min"
