"""Uniform numbers and samples from a source of random bytes.

`random(n)` gives n random bytes. Which bytes are drawn, and how many, is part of this project's
test vectors: an implementation that draws otherwise is as good, but gives other transcripts.
"""

from collections.abc import Callable, Sequence
from typing import TypeVar

T = TypeVar("T")
Random = Callable[[int], bytes]


def below(random: Random, bound: int) -> int:
    """Return a uniform number from 0 to bound - 1, by rejection. `bound` is at least 1."""
    bits = (bound - 1).bit_length()
    size = -(-bits // 8)
    while True:
        number = int.from_bytes(random(size), "big") & ((1 << bits) - 1)
        if number < bound:
            return number


def sample(random: Random, population: Sequence[T], count: int) -> list[T]:
    """Return `count` different members, every ordered choice alike (Fisher-Yates, the first steps).

    Raises ValueError if the population is smaller than that.
    """
    if not 0 <= count <= len(population):
        raise ValueError(f"{count} of {len(population)} cannot be drawn")
    pool = list(population)
    for place in range(count):
        other = place + below(random, len(pool) - place)
        pool[place], pool[other] = pool[other], pool[place]
    return pool[:count]
