"""The attacks, by name. A new one is one file here with an `ATTACK`, and one line in `FILES`."""

from __future__ import annotations

from importlib import import_module

from attacks.methods._answers import Answer, LabelShares, Membership, Reconstruction
from attacks.methods._attack import Attack, Load, Settings, Settled

__all__ = [
    "ATTACKS",
    "Answer",
    "Attack",
    "LabelShares",
    "Load",
    "Membership",
    "Reconstruction",
    "Settings",
    "Settled",
    "find",
]

FILES = (
    "dlg",
    "idlg",
    "inverting_gradients",
    "inverting_gradients_multistep",
    "gradinversion",
    "closed_form",
    "disaggregation",
    "flop_naive",
    "flop_joint",
    "varpro",
    "proxy_head",
    "oracle_head",
    "imprint",
    "membership",
    "label_distribution",
)
"""The files of this package that hold an attack, in the order of the tables."""


def _attack(file: str) -> Attack[Answer]:
    attack = import_module(f"{__name__}.{file}").ATTACK
    assert isinstance(attack, Attack) and attack.name == file, f"{file}.py names another attack"
    return attack


ATTACKS: dict[str, Attack[Answer]] = {attack.name: attack for attack in map(_attack, FILES)}


def find(name: str) -> Attack[Answer]:
    """Return the registered attack. Raises ValueError with all names if there is none."""
    if name not in ATTACKS:
        raise ValueError(f"no attack is called {name!r}; choose one of {', '.join(ATTACKS)}")
    return ATTACKS[name]
