"""The `flop` command: lists the sub-commands and imports each one's package only when it is called."""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys

COMMANDS = {
    "sim": ("simulation.run.command", "run a whole federation on this machine"),
    "init": (
        "hospital_node.commands",
        "begin a federation: federation.toml and the start of the shared model",
    ),
    "keygen": ("hospital_node.commands", "make one party's keys"),
    "roster": (
        "hospital_node.commands",
        "add parties to the roster, accept it, show its fingerprint",
    ),
    "coordinator": ("coordinator.command", "run the coordinator"),
    "node": ("hospital_node.commands", "run one hospital"),
    "doctor": ("hospital_node.commands", "find out why a hospital cannot connect"),
    "experiment": ("simulation.papers.command", "repeat the papers' tables and figures"),
    "attack": ("attacks.command", "attack what a coordinator saw; measure what leaks"),
    "bench": ("simulation.bench.command", "measure what things cost, against the machine's limits"),
    "report": ("simulation.report.command", "write report.html of a finished run"),
    "schema": ("simulation.report.command", "print the JSON Schema of a run directory's files"),
}
"""Name: the module that holds the typer app `NAME_app`, and a line of help."""

USERS_ERRORS = ("ConfigError", "DataError", "AddressError", "ConfigOverflow")
"""Errors whose text is a sentence for the user. Known by name, so that nothing is imported for
them.
"""


def usage() -> str:
    lines = [
        (
            "Secure federated learning for hospitals: partial networks (FLOP), and a coordinator"
            " that cannot read what it aggregates."
        ),
        "",
        "usage: flop COMMAND [options]        flop COMMAND --help",
        "",
    ]
    lines += [
        f"  {name:<12} {about}"
        for name, (module, about) in COMMANDS.items()
        if importlib.util.find_spec(module)
    ]
    return "\n".join([*lines, "", "example: flop sim --rounds 3"])


def run(arguments: list[str]) -> int:
    """Run one sub-command; its exit code."""
    if not arguments or arguments[0] in ("-h", "--help"):
        print(usage())
        return 0
    name = arguments[0]
    if name not in COMMANDS or not importlib.util.find_spec(COMMANDS[name][0]):
        print(f"flop: there is no command {name!r}; `flop --help` lists them", file=sys.stderr)
        return 2
    app = getattr(importlib.import_module(COMMANDS[name][0]), f"{name}_app")
    code = app(args=arguments[1:], prog_name=f"flop {name}", standalone_mode=True)
    return int(code or 0)


def main() -> None:
    """Exit 0: done, 2: the user's input (the message names the file, the key and the fix), 1: ours."""
    try:
        sys.exit(run(sys.argv[1:]))
    except KeyboardInterrupt:
        sys.exit(130)
    except Exception as error:
        if any(kind.__name__ in USERS_ERRORS for kind in type(error).__mro__):
            print(error if str(error).startswith("flop ") else f"flop: {error}", file=sys.stderr)
            sys.exit(2)
        if os.environ.get("FLOP_TRACEBACK"):
            raise
        print(
            f"flop: internal error: {type(error).__name__}: {error} (FLOP_TRACEBACK=1 shows where)",
            file=sys.stderr,
        )
        sys.exit(1)


if __name__ == "__main__":
    main()
