"""The cohort of a round is a function of (run seed, round, roster) that everybody recomputes:
nobody chooses it.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

from crypto.kdf import digest
from federation.types import HospitalNumber


def cohort(seed: int, round_: int, ids: Sequence[str], size: int) -> tuple[HospitalNumber, ...]:
    """Return `min(size, len(ids))` hospital numbers, ascending: those whose hash is smallest.

    `ids` are the roster's, in its order.

    Sorting by SHA-256 draws without replacement, uniformly in the random-oracle model, and needs no
    generator that two library versions could implement differently. Ids, not keys, go in: the same
    seed gives the same cohorts to fresh keys.
    """
    return _drawn(seed, round_, tuple(ids), size)


@lru_cache(maxsize=16)  # a simulation's hundred hospitals all ask for the same one
def _drawn(seed: int, round_: int, ids: tuple[str, ...], size: int) -> tuple[HospitalNumber, ...]:
    order = sorted(
        range(len(ids)), key=lambda number: digest("cohort", seed, round_, len(ids), ids[number])
    )
    return tuple(HospitalNumber(number) for number in sorted(order[:size]))
