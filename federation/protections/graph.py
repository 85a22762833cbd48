"""Which hospitals hold a hospital's shares, and which mask with it.

Complete graph: all pairs, threshold t of the cohort. Sparse graph (Bell et al. 2020, eprint
2020/704, malicious variant): each hospital draws its own k out-neighbours when it advertises its
keys. It draws them at random: if the graph followed from public keys, the last hospital to publish
could try keys until it likes the graph. Shares go to a hospital's out-neighbours and itself; masks
run along edges of either direction.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import lru_cache

import numpy as np

from crypto import draw
from federation.errors import FaultyHospital, Reason
from federation.plan import Plan
from federation.types import HospitalNumber, Random

SECURITY = 2.0**-40
"""Chance, over all hospitals together, that the corrupt neighbours of one of them alone reach its
share threshold.
"""

CORRECTNESS = 2.0**-20
"""Chance, over all hospitals together, that dropouts alone make a share irrecoverable and abort the
round.
"""


@lru_cache(maxsize=64)
def sparse_size(n: int, corrupt: float, dropouts: float) -> tuple[int, int] | None:
    """Return (k, t): the fewest holders beside the owner, and the share threshold.

    Returns None if the complete graph is no larger. Corrupt and dropped hospitals among k
    neighbours drawn from n − 1 are hypergeometric. t must exceed what the corrupt hold except with
    chance SECURITY / n each, and the honest survivors must reach t except with chance CORRECTNESS /
    n each.
    """
    from scipy.stats import hypergeom  # takes a second to load, and only sparse graphs need it

    others, bad, away = n - 1, max(1, math.ceil(corrupt * n)), math.ceil(dropouts * n)
    for k in range(1, others):
        counts = np.arange(k + 1)
        # The chance of at least so many corrupt neighbours.
        reach = np.cumsum(hypergeom.pmf(counts, others, bad, k)[::-1])[::-1]
        # The smallest number that they do not reach; 0 if they reach any.
        threshold = int(np.argmax(reach <= SECURITY / n))
        fewer = hypergeom.pmf(counts[:threshold], others, others - away, k).sum()
        if threshold and fewer <= CORRECTNESS / n:
            return k, threshold
    return None


def _sparse(plan: Plan) -> tuple[int, int] | None:
    settings = plan.config.protection
    if settings.graph == "complete":
        return None
    return sparse_size(len(plan.cohort), settings.corrupt, settings.dropouts)


def share_threshold(plan: Plan) -> int:
    """Return how many shares give a secret."""
    size = _sparse(plan)
    return plan.threshold if size is None else size[1]


def holders(plan: Plan, me: HospitalNumber, random: Random) -> tuple[HospitalNumber, ...]:
    """Return who will hold this hospital's shares, itself included, ascending."""
    size = _sparse(plan)
    if size is None:
        return plan.cohort
    others = [number for number in plan.cohort if number != me]
    return tuple(sorted([me, *draw.sample(random, others, size[0])]))


def check_holders(plan: Plan, who: HospitalNumber, claimed: tuple[HospitalNumber, ...]) -> None:
    """Raise FaultyHospital unless these can be the holders that hospital `who` drew."""
    size = _sparse(plan)
    expected = len(plan.cohort) if size is None else size[0] + 1
    if (
        len(claimed) != expected
        or list(claimed) != sorted(set(claimed))
        or who not in claimed
        or not set(claimed) <= set(plan.cohort)
    ):
        raise FaultyHospital(
            who, "names holders that the neighbour graph does not allow", Reason.MALFORMED
        )


def neighbours(
    me: HospitalNumber,
    members: tuple[HospitalNumber, ...],
    holders_of: Mapping[HospitalNumber, tuple[HospitalNumber, ...]],
) -> list[HospitalNumber]:
    """Return those of `members` that mask with `me`: an edge in either direction.

    `holders_of` must have `me` and all its neighbours.
    """
    mine = set(holders_of[me])
    return [
        other
        for other in members
        if other != me and (other in mine or me in holders_of.get(other, ()))
    ]
