"""Kinds of answers: how each is scored against the truth, and what the report says of it.

A new kind is a type in `methods/_answers.py`, one file here and one line in `KINDS`.
"""

from __future__ import annotations

from typing import Any

from attacks.kinds._kind import Kind, Panel, Scene
from attacks.kinds.images import ImagesKind
from attacks.kinds.label_shares import LabelSharesKind
from attacks.kinds.membership import MembershipKind
from attacks.methods import Answer, Attack, LabelShares, Membership, Reconstruction

__all__ = ["KINDS", "Kind", "Panel", "Scene", "kind_of"]

KINDS: dict[type[Answer], Kind[Any]] = {
    Reconstruction: ImagesKind(),
    Membership: MembershipKind(),
    LabelShares: LabelSharesKind(),
}


def kind_of(attack: Attack[Any]) -> Kind[Any]:
    """Return the kind of answer that the attack gives. Raises KeyError if it has no scorer yet."""
    return KINDS[attack.answers]
