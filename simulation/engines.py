"""Engines run many independent calls side by side: on this machine, or on a Ray cluster."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import joblib

from federation.errors import ConfigError

Engine = Callable[[Callable[..., Any], Sequence[tuple[Any, ...]], int], Iterator[Any]]
"""Takes a function, the arguments of each call and how many calls may run at a time. Yields each
result as soon as it is there, in any order. Raises what the function raised.
"""


def _processes(
    function: Callable[..., Any], calls: Sequence[tuple[Any, ...]], jobs: int
) -> Iterator[Any]:
    """Run the calls in processes of this machine."""
    with joblib.parallel_config("loky"):
        yield from joblib.Parallel(n_jobs=jobs, return_as="generator_unordered")(
            joblib.delayed(function)(*call) for call in calls
        )


def _cluster(
    function: Callable[..., Any], calls: Sequence[tuple[Any, ...]], jobs: int
) -> Iterator[Any]:
    """Run the calls on the Ray cluster that RAY_ADDRESS names, or on one of this machine.

    joblib's own Ray backend is not used: it yields all results at the end, so that work which is
    stopped would lose everything.

    Raises:
        ConfigError: If Ray is not installed.
    """
    try:
        import ray
    except ImportError:
        raise ConfigError(
            "--engine ray: Ray is not installed; pip install 'flop-federation[ray]', or leave"
            " --engine out"
        ) from None
    there = {name: os.environ[name] for name in ("FLOP_DATA", "PYTHONPATH") if name in os.environ}
    ray.init(
        ignore_reinit_error=True,
        include_dashboard=False,
        log_to_driver=False,
        runtime_env={"env_vars": there},
    )
    # of an accelerator; a task that asks for none sees none
    share = min(1.0, ray.cluster_resources().get("GPU", 0) / jobs)
    task = ray.remote(num_cpus=1, num_gpus=share, max_retries=0)(function)
    waiting = list(calls)
    running: list[Any] = []
    while waiting or running:
        while waiting and len(running) < jobs:
            running.append(task.remote(*waiting.pop(0)))
        ready, running = ray.wait(running, num_returns=1)
        try:
            yield ray.get(ready[0])
        except ray.exceptions.RayTaskError as error:
            raise error.cause from None


ENGINES: dict[str, Engine] = {"joblib": _processes, "ray": _cluster}


def engine(name: str) -> Engine:
    """Return the engine of this name. Raises ConfigError with all names if there is none."""
    if name not in ENGINES:
        raise ConfigError(f"--engine {name}: choose {' or '.join(ENGINES)}")
    return ENGINES[name]
