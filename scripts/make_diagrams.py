"""Writes the state diagrams of docs/protocol.md from the tables that the program runs on.

    python scripts/make_diagrams.py            writes them between their markers
    python scripts/make_diagrams.py --check    compares instead, and fails if one is out of date

A diagram stands between `<!-- diagram NAME -->` and `<!-- end of diagram -->`, as Mermaid.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar, get_args, get_type_hints

from coordinator.phases import PHASES, Cause, Phase
from coordinator.presence import (
    CONNECTED,
    CONTACT,
    PUNCTUALITY,
    TRUST,
    Contact,
    Event,
    Punctuality,
    Trust,
)
from federation import protections

PAGE = Path(__file__).resolve().parents[1] / "docs" / "protocol.md"
MARKED = re.compile(r"(<!-- diagram (\S+) -->\n)(.*?)(<!-- end of diagram -->)", re.DOTALL)

S = TypeVar("S", bound=str)
E = TypeVar("E", bound=str)
Edge = tuple[str, str, str]
"""(from, to, label)."""


def draw(edges: Iterable[Edge], inside: Sequence[str] = ()) -> str:
    """Return a Mermaid state diagram.

    Args:
        edges: Edges between the same two states are drawn as one.
        inside: States to be drawn within one that is called `connected`.
    """
    labels: dict[tuple[str, str], list[str]] = {}
    for source, target, label in edges:
        labels.setdefault((source, target), []).append(label)
    lines = ["```mermaid", "stateDiagram-v2"]
    if inside:
        lines += ["    state connected {", *(f"        {name}" for name in inside), "    }"]
    for (source, target), found in labels.items():
        lines.append(f"    {source} --> {target}: {', '.join(found)}")
    return "\n".join([*lines, "```", ""])


def table(start: str, rows: Mapping[tuple[S, E], S]) -> list[Edge]:
    """Return the edges of a transition table that change the state."""
    edges = [
        (str(state), str(target), str(event))
        for (state, event), target in rows.items()
        if state != target
    ]
    return [("[*]", start, "start"), *edges]


def contact() -> str:
    """Draw the contact table; what all connected states have in common is one edge."""
    common = [
        (event, target)
        for event in Event
        for target in Contact
        if all(CONTACT.get((state, event)) == target for state in CONNECTED)
    ]
    rest = {
        (state, event): target
        for (state, event), target in CONTACT.items()
        if not (state in CONNECTED and (event, target) in common)
    }
    edges = [("connected", str(target), str(event)) for event, target in common]
    return draw([*table(Contact.UNKNOWN, rest), *edges], [str(state) for state in CONNECTED])


def phases() -> str:
    """Draw the phases of a run."""
    ends = [(str(Phase.FINISHED), "[*]", "end")]
    stops = {row: to for row, to in PHASES.items() if row[1] == Cause.STOPPED}
    others = {row: to for row, to in PHASES.items() if row not in stops}
    running = ", ".join(sorted(str(phase) for phase, _ in stops))
    note = f"    note right of {Phase.FINISHED}: {Cause.STOPPED} leads here from {running}\n"
    return draw([*table(Phase.JOINING, others), *ends]).replace("```\n", f"{note}```\n")


def steps(kind: str) -> str:
    """Draw the states of a hospital in a round under this protection: a step's signature says which
    state it returns.
    """
    protection = protections.get(kind)
    edges = [("[*]", _state_after(protection.begin), "training done")]
    for (state, message), step in protection.steps.items():
        edges.append((state.__name__, _state_after(step), message.__name__))
    last = {target for _, target, _ in edges} - {source for source, _, _ in edges}
    return draw([*edges, *((state, "[*]", "Aggregate") for state in sorted(last))])


def _state_after(step: Callable[..., object]) -> str:
    return str(get_args(get_type_hints(step)["return"])[0].__name__)


DIAGRAMS: dict[str, Callable[[], str]] = {
    "phases": phases,
    "contact": contact,
    "punctuality": lambda: draw(table(Punctuality.PROMPT, PUNCTUALITY)),
    "trust": lambda: draw(table(Trust.TRUSTED, TRUST)),
    "plain": lambda: steps("plain"),
    "masked": lambda: steps("masked"),
    "ckks": lambda: steps("ckks"),
    "masked+ckks": lambda: steps("masked+ckks"),
}


def drawn(page: str) -> str:
    """Return `page` with every diagram as the tables have it now.

    Raises:
        KeyError: If the page names a diagram that there is not.
        ValueError: If it has no place for a diagram that there is.
    """
    missing = set(DIAGRAMS) - {found[2] for found in MARKED.finditer(page)}
    if missing:
        raise ValueError(f"no place for the diagrams {sorted(missing)}")
    return MARKED.sub(lambda found: found[1] + DIAGRAMS[found[2]]() + found[4], page)


def main(arguments: Sequence[str] | None = None) -> int:
    """Write or compare; return 1 if something differs."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--check", action="store_true", help="compare instead of writing")
    check = parser.parse_args(arguments).check
    page = PAGE.read_text(encoding="utf-8")
    wanted = drawn(page)
    if not check:
        PAGE.write_text(wanted, encoding="utf-8")
    elif wanted != page:
        print(
            f"{PAGE}: run scripts/make_diagrams.py, a state diagram is out of date", file=sys.stderr
        )
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
