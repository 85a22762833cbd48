"""Survivor sets that lie close together: the difference of their two sums is the update of the few
that differ (arXiv 2106.03328).

Nothing can take back what two sums say. Who runs a hospital must hear of it, and may ask for a
larger cohort or leave.
"""

from __future__ import annotations

from collections.abc import Mapping


def closest(
    earlier: Mapping[int, frozenset[int]], survivors: frozenset[int], minimum: int
) -> tuple[int, frozenset[int]] | None:
    """(round, who differs): an earlier round whose survivors differ from these by 1 to `minimum` −
    1 hospitals, the fewest; or None.
    """
    found = [
        (len(before ^ survivors), round_, before ^ survivors)
        for round_, before in earlier.items()
        if before != survivors
    ]
    if not found:
        return None
    size, round_, differ = min(found, key=lambda item: (item[0], item[1]))
    return (round_, differ) if size < minimum else None
