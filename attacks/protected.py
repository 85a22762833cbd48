"""What a protection lets the coordinator read, as the attacks have to know it: facts of the
protection itself (`federation/protections/sees.py`).
"""

from __future__ import annotations

from federation import protections
from federation.protections import UNPROTECTED, names
from federation.protections.sees import Reads

__all__ = ["UNPROTECTED", "names", "protecting", "reads_sums", "reads_updates"]


def reads_updates(name: str) -> bool:
    """Whether the coordinator reads every hospital's own update."""
    return protections.get(name).sees.reads is Reads.EACH


def reads_sums(name: str) -> bool:
    """Whether the coordinator reads the sum of the updates but no single one."""
    return protections.get(name).sees.reads is Reads.SUM


def protecting() -> list[str]:
    """The names of all protections that hide a single hospital's update."""
    return [name for name in names() if not reads_updates(name)]
