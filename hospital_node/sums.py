"""Whose updates were in each sum, and a warning if two sums give away a few hospitals' updates."""

from __future__ import annotations

from federation.differencing import closest
from federation.effects import Note
from federation.roster import Roster
from hospital_node import sentences


class SumHistory:
    """Remembers the survivors of each round whose sum this process has signed or applied."""

    def __init__(self, roster: Roster) -> None:
        self._roster = roster
        self.survivors: dict[int, frozenset[int]] = {}

    def add(self, round_: int, survivors: frozenset[int], minimum: int) -> list[Note]:
        """Remember a round's survivors; warn if an earlier set differs by too few hospitals.

        To be called as soon as a set is to be signed, because a coordinator may unmask a sum and
        never send it.

        Args:
            round_: The round of the sum.
            survivors: The roster numbers of the hospitals whose updates are in it.
            minimum: Two sets that differ by fewer hospitals are too close.

        Returns:
            The warning, or nothing; the same set is warned of only once.
        """
        seen = survivors in self.survivors.values()
        pair = None if seen else closest(self.survivors, survivors, minimum)
        self.survivors[round_] = survivors
        if pair is None:
            return []
        names = [self._roster.id_of(who) for who in sorted(pair[1])]
        return [Note(sentences.too_close(pair[0], round_, names), error=True)]
