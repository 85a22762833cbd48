"""The rounds of one cell: small federations that train on the cell's images, and what was seen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from attacks import given, noise, protected
from attacks.cells import Cell
from attacks.methods import Attack
from attacks.observation import COLLUDING, CURIOUS, UNCHECKED, Arrays, Case, SideKnowledge
from attacks.pictures import Pictures
from attacks.planted import planted
from attacks.trials import Trial, play
from attacks.victim import play_frozen
from simulation.run.options import Options


def prepare(attack: Attack[Any], cell: Cell, pictures: Pictures) -> tuple[list[Trial], list[Case]]:
    """Play the cell's rounds and return them, with the cases that its attacker has of them.

    Raises MissingKnowledge if the attack cannot be tried in this cell.
    """
    if cell.adversary == UNCHECKED:
        trials = planted(attack, pictures, batch=cell.images, seed=cell.seed)
        return trials, [Case(t.observation, SideKnowledge(batch_size=cell.images)) for t in trials]
    trials = _played(cell, pictures)
    if cell.adversary == COLLUDING and protected.reads_sums(cell.protection):
        trials = _without_colluders(cell, pictures, trials)
    if cell.noise is not None:
        trials = noise.noisy(trials, cell.noise, cell.seed)
    return trials, [given.case(attack, cell, pictures, trials, at) for at in range(len(trials))]


def hospitals(cell: Cell) -> int:
    """How many hospitals one round has: the cohort if they are hidden behind each other, otherwise
    all that are attacked side by side, at least two.
    """
    if protected.reads_updates(cell.protection):
        return max(2, cell.images // cell.batch)
    return cell.cohort


def enough(cell: Cell) -> int:
    """How many images the cell's rounds take. There are at least two observations, so that each has
    another's update for its control.
    """
    if cell.adversary == UNCHECKED:
        return cell.images
    per_round = hospitals(cell) * cell.batch
    least = 1 if protected.reads_updates(cell.protection) else 2
    return per_round * max(least, -(-cell.images // per_round))


def options(cell: Cell, together: int, at: int) -> Options:
    """The federation of a cell: `together` hospitals with one batch each, over which they make
    `local_steps` passes a round. `at` is the first image's place and changes the seed.
    """
    return Options.of(
        image_size=cell.image_size,
        model=cell.model,
        algorithm=cell.algorithm,
        protection=cell.protection,
        private_last=cell.cut if cell.algorithm == "flop" and cell.cut > 1 else None,
        bits=cell.coded_bits,
        hospitals=together,
        min_cohort=min(3, together),
        rounds=cell.state + 1,
        local_epochs=cell.local_steps,
        batch_size=cell.batch,
        lr=cell.lr,
        optimizer=cell.optimizer,
        seed=cell.seed + at,
        device="cpu",
    )


def _played(cell: Cell, pictures: Pictures) -> list[Trial]:
    together = hospitals(cell)
    per_round = together * cell.batch
    trials: list[Trial] = []
    for at in range(0, len(pictures.images) - per_round + 1, per_round):
        images, labels = (x[at : at + per_round] for x in (pictures.images, pictures.labels))
        wanted = options(cell, together, at)
        if cell.frozen:
            trials += play_frozen(images, labels, pictures.classes, wanted)
        else:
            trials += play(images, labels, pictures.classes, wanted, cell.state + 1)
    return trials


def _without_colluders(cell: Cell, pictures: Pictures, trials: Sequence[Trial]) -> list[Trial]:
    """All but the first hospital hand over what they sent: the same rounds are played once more
    without a protection, from the same seeds.
    """
    open_cell = replace(
        cell, protection=protected.UNPROTECTED, bits=cell.coded_bits, adversary=CURIOUS
    )
    together = hospitals(cell)
    per_round, left = together * cell.batch, []
    for at, trial in enumerate(trials):
        part = slice(at * per_round, (at + 1) * per_round)
        each = play(
            pictures.images[part],
            pictures.labels[part],
            pictures.classes,
            options(open_cell, together, at * per_round),
            cell.state + 1,
        )
        first = trial.truth.images[: cell.batch]
        others = [t.observation for t in each if not np.array_equal(t.truth.images, first)]
        handed = {name: _sum(name, [o.readable for o in others]) for name in others[0].readable}
        truth = replace(
            trial.truth,
            images=first,
            labels=trial.truth.labels[: cell.batch],
            heads=trial.truth.heads[:1],
        )
        left.append(Trial(trial.observation.without(handed, len(others)), truth))
    return left


def _sum(name: str, updates: Sequence[Arrays]) -> np.ndarray:
    total = updates[0][name]
    for update in updates[1:]:
        total = total + update[name]
    return total
