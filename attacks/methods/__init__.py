"""The attacks, by name. A new one is one file here with an `ATTACK`, and one line in `ATTACKS`."""

from __future__ import annotations

from attacks.methods import (
    closed_form,
    dlg,
    flop_joint,
    flop_naive,
    gradinversion,
    idlg,
    imprint,
    inverting_gradients,
    inverting_gradients_multistep,
    label_distribution,
    membership,
    oracle_head,
    proxy_head,
    varpro,
)
from attacks.methods._attack import Attack, Reconstruction, Settings

__all__ = ["ATTACKS", "Attack", "Reconstruction", "Settings", "find"]

_MODULES = (
    dlg,
    idlg,
    inverting_gradients,
    inverting_gradients_multistep,
    gradinversion,
    closed_form,
    flop_naive,
    flop_joint,
    varpro,
    proxy_head,
    oracle_head,
    imprint,
    membership,
    label_distribution,
)
ATTACKS: dict[str, Attack] = {module.ATTACK.name: module.ATTACK for module in _MODULES}


def find(name: str) -> Attack:
    """The registered attack. Raises ValueError that lists the names when there is none."""
    if name not in ATTACKS:
        raise ValueError(f"no attack is called {name!r}; choose one of {', '.join(ATTACKS)}")
    return ATTACKS[name]
