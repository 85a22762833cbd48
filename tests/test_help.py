"""Every command's help text: it has an example, and printing it loads nothing heavy."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys

import pytest
import typer.main

import flop

HEAVY = ("torch", "torchvision", "torchmetrics", "matplotlib", "scipy", "tenseal", "ray", "joblib")


def words_of(name: str) -> list[list[str]]:
    """The command line of each help text of `flop name`."""
    app = getattr(importlib.import_module(flop.COMMANDS[name][0]), f"{name}_app")
    subcommands = getattr(typer.main.get_command(app), "commands", {})
    return [[name, "--help"], *([name, subcommand, "--help"] for subcommand in subcommands)]


@pytest.mark.parametrize("name", flop.COMMANDS)
def test_help_has_an_example_and_loads_no_heavy_library(name: str) -> None:
    script = (
        "import contextlib, io, json, sys, flop\n"
        "printed = {}\n"
        "for words in json.loads(sys.argv[1]):\n"
        "    out = io.StringIO()\n"
        "    with contextlib.redirect_stdout(out), contextlib.suppress(SystemExit):\n"
        "        flop.run(words)\n"
        "    printed[' '.join(words)] = out.getvalue()\n"
        "print(json.dumps([printed, sorted(sys.modules)]))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, json.dumps(words_of(name))], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    printed, modules = json.loads(done.stdout)
    assert not set(HEAVY) & set(modules)
    for words, text in printed.items():
        assert "Usage: flop" in text, words
        assert f"flop {name}" in text.partition("xample: ")[2], f"{words} has no example"
