"""What the benchmark tells an attack besides the observation: what the attack declares, no more.

Everybody knows what the agreed config says. Each further word of `NEEDS` has one function here, and
an attack is given it only if the word is among its needs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from attacks.cells import Cell
from attacks.methods import Attack
from attacks.observation import Case, SideKnowledge
from attacks.pictures import Pictures
from attacks.trials import Trial


def case(
    attack: Attack[Any], cell: Cell, pictures: Pictures, trials: Sequence[Trial], at: int
) -> Case:
    """Return what the attacker of `trials[at]` has: the observation and its knowledge.

    A ciphertext is read as numbers, which is all that is left to try without the key.
    """
    seen = trials[at].observation
    if seen.update is None:
        seen = seen.read_as_numbers(cell.seed)
    known = SideKnowledge(
        learning_rate=cell.lr,
        local_steps=cell.local_steps,
        optimizer=cell.optimizer,
        batch_size=cell.batch,
        classes=len(pictures.classes),
        mode=cell.mode,
    )
    for word in sorted(attack.needs & set(SUPPLIES)):
        known = SUPPLIES[word](known, pictures, trials, at)
    return Case(seen, known)


Supply = Callable[[SideKnowledge, Pictures, Sequence[Trial], int], SideKnowledge]


def _oracle_head(
    known: SideKnowledge, pictures: Pictures, trials: Sequence[Trial], at: int
) -> SideKnowledge:
    return replace(known, head=trials[at].truth.heads[0], head_source="oracle")


def _proxy_head(
    known: SideKnowledge, pictures: Pictures, trials: Sequence[Trial], at: int
) -> SideKnowledge:
    """The head of the next hospital."""
    head = trials[(at + 1) % len(trials)].truth.heads[0]
    return replace(known, head=head, head_source="proxy")


def _candidates(
    known: SideKnowledge, pictures: Pictures, trials: Sequence[Trial], at: int
) -> SideKnowledge:
    """The hospital's images, followed by as many strangers'."""
    own = trials[at].truth.images
    others = pictures.others[at * len(own) : (at + 1) * len(own)] / 255.0
    return replace(known, candidates=np.concatenate([own, others]))


def _shadow(
    known: SideKnowledge, pictures: Pictures, trials: Sequence[Trial], at: int
) -> SideKnowledge:
    return replace(known, shadow=(pictures.others / 255.0, pictures.other_labels))


def _public(
    known: SideKnowledge, pictures: Pictures, trials: Sequence[Trial], at: int
) -> SideKnowledge:
    return replace(known, public=pictures.public / 255.0)


SUPPLIES: dict[str, Supply] = {
    "oracle_head": _oracle_head,
    "proxy_head": _proxy_head,
    "candidates": _candidates,
    "shadow": _shadow,
    "public": _public,
}
