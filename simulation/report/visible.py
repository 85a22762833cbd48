"""What the coordinator could see of a run, row by row: the statements of docs/threat-model.md, for
one run. The facts are the protection's own (`federation/protections/sees.py`).
"""

from __future__ import annotations

from dataclasses import replace

from federation import protections
from federation.protections.sees import Fact, Row, Seen


def sentence(protection: str) -> str:
    """Return what the coordinator could see, in a few sentences."""
    return protections.get(protection).sees.sentence


def rows(protection: str, algorithm: str, told: bool | None, helping: int = 0) -> list[Row]:
    """Return the table for one run.

    Args:
        protection: Name of the protection.
        algorithm: Of the config; `flop` or `fedavg`.
        told: Whether a hospital told the coordinator its accuracy; None if that is not known here.
        helping: See `sees.helpers`; 0 if the cohort is not known.
    """
    sees = protections.get(protection).sees
    found = sees.rows(str(helping)) if helping else sees.rows()
    if algorithm == "fedavg":
        none = "there are none: fedavg shares every layer"
        found[Fact.PRIVATE] = replace(found[Fact.PRIVATE], how=none)
    if told is None:
        del found[Fact.SCORE]
    elif told:
        found[Fact.SCORE] = Row(Fact.SCORE, Seen.YES, "these hospitals' policy shares it")
    else:
        found[Fact.SCORE] = Row(Fact.SCORE, Seen.NO, "no hospital's policy shared it")
    return list(found.values())
