"""What a report reads in a run's events: what went wrong, and sums that give an update away."""

from __future__ import annotations

from federation.records.events import (
    ConnectionRefused,
    HospitalJoined,
    HospitalRejected,
    LateMessage,
    PhaseClosed,
    RoundBegun,
    RoundDiscarded,
    RoundFailed,
    RoundReported,
)
from simulation.report.differences import MOST, pairs, survivors, warnings
from simulation.report.trouble import trouble, without_result
from tests.simulation.run_directory import IDS, round_of


def test_the_same_thing_in_one_round_is_one_entry() -> None:
    late = HospitalRejected("north", "roster", "has another roster")
    found = trouble([late, RoundBegun(1), late, late, HospitalJoined("north")])
    assert [(one.round, one.event, one.times) for one in found] == [
        (0, "rejected", 1),
        (1, "rejected", 2),
    ]


def test_what_a_reader_need_not_hear_of_is_left_out() -> None:
    assert trouble([HospitalJoined("north"), LateMessage("north", "Update"), RoundBegun(1)]) == []


def test_an_event_without_words_gets_some() -> None:
    (entry,) = trouble([RoundDiscarded(3)])
    assert (entry.round, entry.bad) == (3, True)
    assert (
        entry.text
        == "most hospitals refused the sum; the round counts as if it had not taken place"
    )


def test_who_is_no_hospital_has_no_name() -> None:
    (entry,) = trouble([ConnectionRefused("another key")])
    assert (entry.hospital, entry.text, entry.bad) == ("", "another key", False)


def test_rounds_without_a_result_are_failed_or_discarded() -> None:
    events = [RoundFailed(2, "threshold", "few"), RoundReported(3, {}), RoundDiscarded(4)]
    assert without_result(events) == [2, 4]


def test_survivors_are_those_whose_updates_came() -> None:
    events = [*round_of(1, *IDS), *round_of(2, *IDS[:3])]
    assert survivors(events) == {1: frozenset(IDS), 2: frozenset(IDS[:3])}


def test_a_discarded_or_failed_round_gave_no_sum() -> None:
    failed = (RoundBegun(2, IDS), PhaseClosed("masked_update", IDS[1:], "consistency"))
    assert survivors([*round_of(1, *IDS), RoundDiscarded(1), *failed]) == {}


def test_an_earlier_round_need_not_be_the_last_one() -> None:
    sets = {1: frozenset("abc"), 2: frozenset("xyz"), 3: frozenset("ab")}
    assert pairs(sets) == [(1, 3, "c")]
    assert pairs({1: frozenset("abc"), 2: frozenset("abd")}) == [], "two of them differ"


def test_more_warnings_than_a_reader_takes_in_are_counted() -> None:
    events = [event for n in range(1, 15) for event in round_of(n, *IDS[n % 2 :])]
    found = warnings(events, [])
    assert len(found) == MOST + 1
    assert found[-1] == "3 more pairs of rounds differ by one hospital."
