"""What a protection lets the coordinator read, as the attacks have to know it."""

from __future__ import annotations

from federation import protections

UNPROTECTED = "plain"


def names() -> list[str]:
    """The names of all protections."""
    return ["plain", "masked", "ckks", "masked+ckks"]


def reads_updates(name: str) -> bool:
    """Whether the coordinator reads every hospital's own update."""
    return name == UNPROTECTED


def reads_sums(name: str) -> bool:
    """Whether the coordinator reads the sum of the updates but no single one."""
    return not reads_updates(name) and not protections.get(name).hidden


def protecting() -> list[str]:
    """The names of all protections that hide a single hospital's update."""
    return [name for name in names() if not reads_updates(name)]
