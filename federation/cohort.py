"""The cohort of a round is a function of (run seed, round, roster) that everybody recomputes: nobody chooses it."""

from __future__ import annotations

from crypto.kdf import digest


def cohort(seed: int, round_: int, roster_digest: bytes, hospitals: int, size: int) -> tuple[int, ...]:
    """`min(size, hospitals)` hospital numbers, ascending: those whose hash comes first.

    Sorting by SHA-256 draws without replacement, uniformly in the random-oracle model, and needs no generator that two
    library versions could implement differently.
    """
    order = sorted(range(hospitals), key=lambda number: digest("cohort", seed, round_, roster_digest, number))
    return tuple(sorted(order[:size]))
