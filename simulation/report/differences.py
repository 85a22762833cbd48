"""What two sums give away together: if their participants differ by one hospital, their difference
is that hospital's update (arXiv 2106.03328).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from federation.protections.sees import Fact, Row, Seen
from federation.records.events import Event, PhaseClosed, RoundBegun, RoundDiscarded

MOST = 10
"""Warnings that are shown; the last one says how many more there are."""


def warnings(events: Iterable[Event], visible: Sequence[Row]) -> list[str]:
    """Sentences for a security officer; none if the coordinator reads every update anyway.

    Args:
        events: Of the coordinator.
        visible: What it could see, see `simulation.report.visible.rows`.
    """
    if any(row.fact is Fact.UPDATE and row.seen is Seen.YES for row in visible):
        return []
    found = [
        f"WARNING: rounds {earlier} and {later} had the same participants except {hospital}."
        f" Anyone with both sums can subtract them and obtain {hospital}'s update."
        for earlier, later, hospital in pairs(survivors(events))
    ]
    more = len(found) - MOST
    return [*found[:MOST], *([f"{more} more pairs of rounds differ by one hospital."] * (more > 0))]


def survivors(events: Iterable[Event]) -> dict[int, frozenset[str]]:
    """Of every round that gave a sum: the hospitals whose updates are in it."""
    found: dict[int, frozenset[str]] = {}
    now, uploaded = 0, frozenset[str]()
    for event in events:
        match event:
            case RoundBegun(round=round_):
                now = round_
            case PhaseClosed(phase=phase, present=present, next=following):
                if phase.endswith("update"):
                    uploaded = frozenset(present)
                if following == "aggregate":
                    found[now] = uploaded
            case RoundDiscarded(round=round_):
                found.pop(round_, None)
    return found


def pairs(survivors: Mapping[int, frozenset[str]]) -> list[tuple[int, int, str]]:
    """(earlier round, later round, the one hospital that only one of them has), for each round the
    nearest earlier one.
    """
    found = []
    for later, here in survivors.items():
        near = [
            (earlier, before ^ here)
            for earlier, before in survivors.items()
            if earlier < later and len(before ^ here) == 1
        ]
        if near:
            earlier, differ = near[-1]
            found.append((earlier, later, next(iter(differ))))
    return found
