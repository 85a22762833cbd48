"""The sparse neighbour graph: its size by formula, its holders, and a whole round on it with
dropouts.
"""

from __future__ import annotations

import math
import os

import pytest
from scipy.stats import hypergeom

from federation.errors import FaultyHospital
from federation.plan import Plan
from federation.protections import graph
from simulation.bench import crowd
from tests.rig import Rig, config


def sparse_plan(hospitals: int = 100) -> Plan:
    agreed = config("masked", hospitals, ring=24, graph="sparse", corrupt=0.1, dropouts=0.3)
    return Rig(agreed).plan()


@pytest.mark.parametrize(("corrupt", "k"), [(0.1, 88), (1 / 3, 246)])
def test_a_thousand_hospitals_need_about_as_many_neighbours_as_the_literature_says(
    corrupt: float, k: int
) -> None:
    size = graph.sparse_size(1000, corrupt, 0.3)
    assert size is not None and abs(size[0] - k) <= 0.03 * k


@pytest.mark.parametrize(
    ("n", "corrupt", "dropouts"), [(100, 0.1, 0.3), (1000, 0.1, 0.3), (1000, 0.2, 0.1)]
)
def test_corrupt_neighbours_alone_reach_no_threshold_and_honest_survivors_do(
    n: int, corrupt: float, dropouts: float
) -> None:
    k, t = graph.sparse_size(n, corrupt, dropouts) or (0, 0)
    reached = math.fsum(hypergeom.pmf(x, n - 1, math.ceil(corrupt * n), k) for x in range(t, k + 1))
    missed = math.fsum(
        hypergeom.pmf(x, n - 1, n - 1 - math.ceil(dropouts * n), k) for x in range(t)
    )
    assert n * reached <= graph.SECURITY and n * missed <= graph.CORRECTNESS


def test_small_cohorts_stay_complete_and_one_corrupt_hospital_is_always_reckoned_with() -> None:
    assert all(
        graph.sparse_size(n, corrupt, 0.3) is None
        for n in range(3, 6)
        for corrupt in (0.0, 0.1, 0.3)
    )
    assert all((graph.sparse_size(n, 0.0, 0.1) or (0, 2))[1] >= 2 for n in range(3, 60))
    assert graph.holders(sparse_plan(5), 2, os.urandom) == (0, 1, 2, 3, 4)


def test_holders_are_drawn_afresh_and_checked() -> None:
    plan = sparse_plan()
    k = (graph.sparse_size(100, 0.1, 0.3) or (0, 0))[0]
    first, second = graph.holders(plan, 7, os.urandom), graph.holders(plan, 7, os.urandom)
    assert first != second and len(first) == len(second) == k + 1 and 7 in first
    graph.check_holders(plan, 7, first)
    for wrong in (
        first[:-1],
        tuple(reversed(first)),
        (*first[:-1], 100),
        tuple(who for who in range(k + 2) if who != 7)[: k + 1],
    ):
        with pytest.raises(FaultyHospital):
            graph.check_holders(plan, 7, wrong)


def test_who_masks_with_whom_is_the_same_from_both_sides() -> None:
    plan = sparse_plan(60)
    holders = {who: graph.holders(plan, who, os.urandom) for who in plan.cohort}
    for who in plan.cohort:
        for other in graph.neighbours(who, plan.cohort, holders):
            assert who in graph.neighbours(other, plan.cohort, holders)


def test_a_round_of_forty_hospitals_with_dropouts_is_exact() -> None:
    found = crowd.run(hospitals=40, params=200, dropouts=0.3, corrupt=0.1)
    assert found["exact"] and found["dropouts"] == 12
    assert found["holders_of_a_share"] < 39
