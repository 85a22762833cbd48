"""A data set's training rows divided among the hospitals of a simulation.

If groups are known (patients, or scenes of one video), each group goes to one hospital, so that no
hospital is tested on a patient that another one trained on. Only `by:COLUMN` may split a group,
because the column says where its images are; the notes then say how many groups were split.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

PAPER_CHUNKS = 25  # chunks per class in the FLOP paper's example
DIRICHLET_TRIES = 50


@dataclass(frozen=True)
class Partition:
    """Who has which rows.

    Attributes:
        parts: Each hospital's rows, int64 and sorted: disjoint, together all rows, none empty.
        notes: Sentences for the summary.
    """

    parts: list[np.ndarray]
    notes: list[str] = field(default_factory=list)


def partition(
    spec: str,
    labels: np.ndarray,
    columns: Mapping[str, Sequence[str]] | None,
    hospitals: int,
    seed: int,
    groups: np.ndarray | None = None,
) -> Partition:
    """Divide rows 0..len(labels)-1 among `hospitals`.

    Args:
        spec: `iid`; `skew:LAMBDA[:CHUNKS]`, the FLOP paper's section 4.1; `dirichlet:ALPHA`, each
            class divided in proportions from a symmetric Dirichlet distribution (Hsu et al. 2019,
            arXiv 1909.06335); `by:COLUMN`, the column's values are the hospitals.
        labels: N class numbers.
        columns: The Index's columns, for `by:COLUMN`.
        hospitals: How many there are.
        seed: Seeds every random choice.
        groups: The Index's groups.

    Raises:
        ValueError: If the spec is malformed or there is too little to divide; one sentence.
    """
    labels = np.asarray(labels)
    kind, *arguments = spec.split(":")
    if hospitals < 1:
        raise ValueError(f"There must be at least one hospital, not {hospitals}.")
    if groups is not None and len(groups) != len(labels):
        raise ValueError(f"There are {len(labels)} labels but {len(groups)} groups.")
    if kind == "by":
        return _by_column(spec, len(labels), columns or {}, hospitals, groups)
    units = _Units(labels, groups)
    if len(units) < hospitals:
        what = "images" if groups is None else "patients or groups"
        raise ValueError(
            f"{len(units)} {what} cannot be divided among {hospitals} hospitals; ask for fewer."
        )
    rng = np.random.default_rng(seed)
    if kind == "iid" and not arguments:
        return units.partition(_iid(units, hospitals, rng), hospitals, [])
    if kind == "skew" and len(arguments) in (1, 2):
        lam = _number(spec, arguments[0])
        chunks = _whole(spec, arguments[1]) if len(arguments) == 2 else None
        if not 0 <= lam <= 1:
            raise ValueError(f"{spec!r}: LAMBDA is a probability, 0 to 1, not {arguments[0]}.")
        return units.partition(*_skew(units, lam, chunks, hospitals, rng))
    if kind == "dirichlet" and len(arguments) == 1:
        alpha = _number(spec, arguments[0])
        if not 0 < alpha < math.inf:
            raise ValueError(f"{spec!r}: ALPHA must be above 0, not {arguments[0]}.")
        return units.partition(*_dirichlet(units, alpha, hospitals, rng))
    raise ValueError(
        f"{spec!r} is not a partition; write iid, skew:LAMBDA[:CHUNKS], dirichlet:ALPHA or"
        " by:COLUMN."
    )


class _Units:
    """What goes to one hospital as a whole: a group of rows, or a single row.

    A group's class is its most common one, the lowest number at a tie.
    """

    def __init__(self, labels: np.ndarray, groups: np.ndarray | None) -> None:
        keys = np.arange(len(labels)) if groups is None else np.asarray(groups)
        _, first, unit = np.unique(keys, return_index=True, return_inverse=True)
        # numbered by first appearance, so that the groups' names have no influence
        rank = np.empty(len(first), np.int64)
        rank[np.argsort(first)] = np.arange(len(first))
        self.of_row = rank[unit]
        _, label = np.unique(labels, return_inverse=True)
        counts = np.zeros((len(first), label.max(initial=-1) + 1), np.int64)
        np.add.at(counts, (self.of_row, label), 1)
        self.classes = counts.shape[1]
        self.size = counts.sum(axis=1)
        self.label = counts.argmax(axis=1) if len(first) else np.zeros(0, np.int64)

    def __len__(self) -> int:
        return len(self.size)

    def partition(self, owner: np.ndarray, hospitals: int, notes: list[str]) -> Partition:
        owner_of_row = owner[self.of_row]
        return Partition([np.flatnonzero(owner_of_row == i) for i in range(hospitals)], notes)


def _iid(units: _Units, hospitals: int, rng: np.random.Generator) -> np.ndarray:
    """Each unit to the hospital with the fewest images, in random order, large units first.

    Single images are then divided equally, to within one.
    """
    order = rng.permutation(len(units))
    order = order[np.argsort(-units.size[order], kind="stable")]
    return _balanced(units.size, order, hospitals)


def _balanced(sizes: np.ndarray, order: np.ndarray, bins: int) -> np.ndarray:
    owner, load = np.empty(len(sizes), np.int64), np.zeros(bins, np.int64)
    for item in order:
        owner[item] = load.argmin()
        load[owner[item]] += sizes[item]
    return owner


def _skew(
    units: _Units, lam: float, chunks: int | None, hospitals: int, rng: np.random.Generator
) -> tuple[np.ndarray, int, list[str]]:
    """The FLOP paper's section 4.1: hospital i prefers class i mod C with probability LAMBDA.

    The other classes share the rest of the probability equally.

    What the text leaves open, and what is done here. Within a class the images are shuffled before
    they are cut into CHUNKS chunks of (nearly) equal numbers of units. Hospitals draw in turn, one
    chunk at a time, until all chunks are gone: were each to take all its chunks at once, what is
    left over would fall on the last hospitals alone. Each gets the same number of chunks, the first
    ones one more if the number does not divide. A chunk is the next of its class. If every class
    that is left has probability zero (LAMBDA = 1), all of them are equally likely. Without CHUNKS:
    the paper's 25, or the next number that divides evenly.
    """
    if chunks is None:
        chunks = next(
            k
            for k in range(PAPER_CHUNKS, PAPER_CHUNKS + hospitals)
            if k * units.classes % hospitals == 0
        )
    piles = []
    for label in range(units.classes):
        own = rng.permutation(np.flatnonzero(units.label == label))
        piles.append([chunk for chunk in np.array_split(own, chunks) if len(chunk)][::-1])
    total = sum(len(pile) for pile in piles)
    if total < hospitals:
        raise ValueError(
            f"{total} chunks cannot be divided among {hospitals} hospitals; ask for more chunks per"
            " class."
        )
    owner = np.empty(len(units), np.int64)
    for turn in range(total):
        hospital = turn % hospitals
        left = np.array([len(pile) > 0 for pile in piles])
        label = rng.choice(units.classes, p=choice(lam, hospital % units.classes, left))
        owner[piles[label].pop()] = hospital
    return (
        owner,
        hospitals,
        [f"{chunks} chunks per class, {total // hospitals} or more for each hospital"],
    )


def choice(lam: float, preferred: int, left: np.ndarray) -> np.ndarray:
    """The probabilities of the next chunk's class: float64, one per class.

    `left`: bool, one per class: whether it has chunks left.

    FLOP paper 4.1 (i) to (v): LAMBDA for the preferred class, (1 - LAMBDA) / (C - 1) for each
    other, normalised over those left.
    """
    count = len(left)
    p = np.full(count, (1 - lam) / (count - 1) if count > 1 else 1.0)
    p[preferred] = lam if count > 1 else 1.0
    p = p * left
    return np.asarray(p / p.sum() if p.sum() > 0 else left / left.sum())


def _dirichlet(
    units: _Units, alpha: float, hospitals: int, rng: np.random.Generator
) -> tuple[np.ndarray, int, list[str]]:
    """Proportions are drawn again until every hospital has a tenth of an equal share.

    After DIRICHLET_TRIES, units are moved from the largest hospital to the smallest instead.
    """
    least = max(1, len(units) // (10 * hospitals))
    owner = np.empty(len(units), np.int64)
    for _ in range(DIRICHLET_TRIES):
        for label in range(units.classes):
            own = rng.permutation(np.flatnonzero(units.label == label))
            cuts = np.cumsum(rng.dirichlet(np.full(hospitals, alpha)))[:-1]
            for hospital, share in enumerate(
                np.split(own, np.round(np.nan_to_num(cuts) * len(own)).astype(np.int64))
            ):
                owner[share] = hospital
        counts = np.bincount(owner, minlength=hospitals)
        if counts.min() >= least:
            return owner, hospitals, []
    moved = 0
    while (counts := np.bincount(owner, minlength=hospitals)).min() < least:
        owner[rng.choice(np.flatnonzero(owner == counts.argmax()))] = counts.argmin()
        moved += 1
    note = (
        f"alpha {alpha:g} left a hospital with fewer than {least}, so {moved} images or groups were"
        " moved from the largest"
    )
    return owner, hospitals, [note]


def _by_column(
    spec: str,
    count: int,
    columns: Mapping[str, Sequence[str]],
    hospitals: int,
    groups: np.ndarray | None,
) -> Partition:
    """One value of the column for each hospital, in alphabetical order.

    If there are more values than hospitals, each goes to the smallest hospital, largest first.
    """
    name = spec.partition(":")[2]
    there = ", ".join(sorted(columns)) or "none"
    if name not in columns:
        raise ValueError(
            f"{spec!r}: there is no column {name!r} to divide by; the columns are: {there}."
        )
    if len(columns[name]) != count:
        raise ValueError(f"Column {name!r} has {len(columns[name])} values for {count} images.")
    values, value_of_row, sizes = np.unique(
        np.array([value or "(blank)" for value in columns[name]]),
        return_inverse=True,
        return_counts=True,
    )
    if len(values) < hospitals:
        raise ValueError(
            f"Column {name!r} has {len(values)} values ({', '.join(values)}), which is too few for"
            f" {hospitals} hospitals; ask for at most {len(values)}."
        )
    owner = np.arange(len(values))
    notes = []
    if len(values) > hospitals:
        owner = _balanced(sizes, np.argsort(-sizes, kind="stable"), hospitals)
        notes.append(
            f"{len(values)} values of {name} were grouped into {hospitals} hospitals, as equal in"
            " size as whole values allow"
        )
    owner_of_row = owner[value_of_row]
    for hospital in range(hospitals):
        mine = ", ".join(f"{values[v]} ({sizes[v]})" for v in np.flatnonzero(owner == hospital))
        notes.append(f"hospital {hospital + 1} = {mine}")
    if groups is not None:
        homes = np.unique(
            np.stack([np.unique(groups, return_inverse=True)[1], owner_of_row]), axis=1
        )[0]
        torn = int((np.bincount(homes) > 1).sum())
        if torn:
            notes.append(
                f"{torn} patients or groups have images at more than one hospital, because {name}"
                " says so"
            )
    return Partition([np.flatnonzero(owner_of_row == i) for i in range(hospitals)], notes)


def _number(spec: str, text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise ValueError(f"{spec!r}: {text!r} is not a number.") from None


def _whole(spec: str, text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= 10**6:
        raise ValueError(f"{spec!r}: CHUNKS must be a whole number of at least 1, not {text!r}.")
    return int(text)
