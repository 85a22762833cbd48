"""The cohort: nobody chooses it, everybody computes the same one, and nobody is preferred."""

from __future__ import annotations

from collections import Counter
from itertools import combinations

import pytest

from federation.cohort import cohort

IDS = [f"hospital-{number}" for number in range(8)]
KNOWN = [(0, 5, 7), (2, 3, 4), (4, 5, 7)]


def test_known_cohorts_never_change() -> None:
    """Two releases that drew differently could not work together."""
    assert [cohort(0, round_, IDS, 3) for round_ in (1, 2, 3)] == KNOWN


@pytest.mark.parametrize("size", [1, 3, 8, 9, 100])
def test_it_has_the_size_that_was_asked_for_and_no_hospital_twice(size: int) -> None:
    members = cohort(5, 1, IDS, size)
    assert len(members) == min(size, 8)
    assert list(members) == sorted(set(members)) and set(members) <= set(range(8))


def test_seed_and_round_and_roster_all_matter() -> None:
    seen = {cohort(seed, round_, IDS, 4) for seed in range(6) for round_ in range(6)}
    assert len(seen) > 20
    named = {frozenset(IDS[who] for who in cohort(0, round_, IDS, 4)) for round_ in range(9)}
    fewer = {
        frozenset(IDS[1:][who] for who in cohort(0, round_, IDS[1:], 4)) for round_ in range(9)
    }
    assert named != fewer


def test_every_hospital_and_every_pair_is_as_likely_as_any_other() -> None:
    """Chi-square over 3,000 rounds: the 99.99 % points of 7 and 27 degrees of freedom are 29.9 and
    62.3.
    """
    rounds, size = 3000, 3
    ones: Counter[int] = Counter()
    pairs: Counter[tuple[int, int]] = Counter()
    for round_ in range(rounds):
        members = cohort(1, round_, IDS, size)
        ones.update(members)
        pairs.update(combinations(members, 2))
    mean, pair_mean = rounds * size / 8, rounds * 3 / 28
    assert sum((ones[who] - mean) ** 2 / mean for who in range(8)) < 29.9
    assert (
        sum((pairs[pair] - pair_mean) ** 2 / pair_mean for pair in combinations(range(8), 2)) < 62.3
    )
