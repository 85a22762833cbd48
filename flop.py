"""The front door: the `flop` command, and what `import flop` offers in Python.

Nothing heavy is imported here. A sub-command's package is imported when the command runs, a name of
the Python interface when it is first used.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.util
import os
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # what `__getattr__` gives, for type checkers
    from attacks.front import attack as attack
    from attacks.runs import Federation as Federation
    from attacks.runs import load_run as load_run
    from learning.data import arrays as arrays

COMMANDS = {
    "sim": ("simulation.run.command", "run a whole federation on this machine"),
    "init": (
        "hospital_node.founding",
        "begin a federation: federation.toml and the start of the shared model",
    ),
    "keygen": ("hospital_node.admission", "make one party's keys"),
    "roster": (
        "hospital_node.admission",
        "add parties to the roster, accept it, show its fingerprint",
    ),
    "coordinator": ("coordinator.command", "run the coordinator"),
    "node": ("hospital_node.commands", "run one hospital"),
    "doctor": ("hospital_node.commands", "find out why a hospital cannot connect"),
    "experiment": ("simulation.papers.command", "repeat the papers' tables and figures"),
    "attack": ("attacks.command", "attack what a coordinator saw; measure what leaks"),
    "bench": ("simulation.bench.command", "measure what things cost, against the machine's limits"),
    "models": ("learning.command", "list the models"),
    "data": ("learning.command", "list the data sets that are there, and the formats"),
    "report": ("simulation.report.command", "write report.html of a finished run"),
    "schema": ("simulation.report.command", "print the JSON Schema of a run directory's files"),
}
"""Name: the module that holds the typer app `NAME_app`, and a line of help."""

NAMES: dict[str, str] = {
    "Federation": "attacks.runs",
    "arrays": "learning.data",
    "attack": "attacks.front",
    "load_run": "attacks.runs",
}
"""What `import flop` offers: a name, and the module of ours that defines it."""

__all__ = [*NAMES, "__version__"]
__version__: str


def __getattr__(name: str) -> object:
    """Import a name of `NAMES` when it is first used, so that `import flop` stays cheap."""
    if name == "__version__":
        value: object = importlib.metadata.version("flop-federation")
    elif name in NAMES:
        value = getattr(importlib.import_module(NAMES[name]), name)
    else:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


def usage() -> str:
    """The text of `flop --help`."""
    lines = [
        (
            "Secure federated learning for hospitals: partial networks (FLOP), and a coordinator"
            " that cannot read what it aggregates."
        ),
        "",
        "usage: flop COMMAND [options]        flop COMMAND --help        flop --version",
        "",
    ]
    lines += [
        f"  {name:<12} {about}"
        for name, (module, about) in COMMANDS.items()
        if importlib.util.find_spec(module)
    ]
    return "\n".join([*lines, "", "example: flop sim --rounds 3"])


def run(arguments: list[str]) -> int:
    """Run one sub-command and return its exit code.

    Raises:
        Exception: Whatever the command raises. An error with an attribute `exit_code` is the user's
            to mend, and its text says how.
        SystemExit: If typer has printed a help text or an error of usage itself.
    """
    if not arguments or arguments[0] in ("-h", "--help"):
        print(usage())
        return 0
    name = arguments[0]
    if name == "--version":
        print(f"flop {__getattr__('__version__')}")
        return 0
    if name not in COMMANDS or not importlib.util.find_spec(COMMANDS[name][0]):
        print(f"flop: there is no command {name!r}; `flop --help` lists them", file=sys.stderr)
        return 2
    app = getattr(importlib.import_module(COMMANDS[name][0]), f"{name}_app")
    code = app(args=arguments[1:], prog_name=f"flop {name}", standalone_mode=True)
    return int(code or 0)


def main() -> None:
    """Run the command line and exit.

    The exit code is 0 if the command is done, 2 if the user's input is at fault (the message names
    the file, the key and the fix), 130 after Ctrl-C, 1 if the fault is ours.
    """
    try:
        sys.exit(run(sys.argv[1:]))
    except KeyboardInterrupt:
        sys.exit(130)
    except Exception as error:
        code = getattr(error, "exit_code", None)
        if isinstance(code, int):
            print(error if str(error).startswith("flop ") else f"flop: {error}", file=sys.stderr)
            sys.exit(code)
        if os.environ.get("FLOP_TRACEBACK"):
            raise
        print(
            f"flop: internal error: {type(error).__name__}: {error} (FLOP_TRACEBACK=1 shows where)",
            file=sys.stderr,
        )
        sys.exit(1)


if __name__ == "__main__":
    main()
