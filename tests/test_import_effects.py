"""Importing a module of ours changes nothing that others in the process can see."""

from __future__ import annotations

import json
import os
import subprocess
import sys

from tests.test_imports import ROOMS, ROOT, imports, sources

SCRIPT = """
import contextlib, importlib, json, os, signal, sys, warnings

theirs, ours = json.loads(sys.argv[1])
for name in theirs:  # a library may do at its import what it likes
    with contextlib.suppress(ImportError):
        importlib.import_module(name)

import matplotlib, numpy, random, torch


def seen():
    return {
        "matplotlib's backend": dict.__getitem__(matplotlib.rcParams, "backend"),
        "matplotlib's settings": repr(dict.items(matplotlib.rcParams)),
        "pyplot": "matplotlib.pyplot" in sys.modules,
        "signal handlers": {name: signal.getsignal(name) for name in signal.valid_signals()},
        "torch's threads": torch.get_num_threads(),
        "torch's default type": torch.get_default_dtype(),
        "torch's determinism": torch.are_deterministic_algorithms_enabled(),
        "torch's random state": torch.random.get_rng_state().tolist(),
        "numpy's error state": numpy.geterr(),
        "numpy's random state": repr(numpy.random.get_state()),
        "random's state": random.getstate(),
        "warning filters": list(warnings.filters),
        "environment": dict(os.environ),
        "working folder": os.getcwd(),
        "excepthook": sys.excepthook,
        "import path": list(sys.path),
    }


for name in ours:
    before = seen()
    importlib.import_module(name)
    after = seen()
    for what in before:
        if before[what] != after[what]:
            print(f"importing {name} changes {what}")
"""


def test_importing_any_module_changes_nothing_global() -> None:
    paths = [ROOT / "flop.py", *(path for room in ROOMS for path in sources(room))]
    ours = [
        ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        for path in paths
    ]
    named = {name for path in paths for name in imports(path)}
    theirs = sorted(name for name in named if name.partition(".")[0] not in (*ROOMS, "flop"))
    theirs = [name for name in theirs if "pyplot" not in name]
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, json.dumps([theirs, ours])],
        capture_output=True,
        text=True,
        env={**os.environ, "MPLBACKEND": "svg"},
        cwd=ROOT,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.splitlines() == []
