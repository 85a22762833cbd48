"""The transition tables of presence and phases."""

from __future__ import annotations

import pytest

from coordinator.phases import PHASES, Cause, Phase
from coordinator.presence import CONNECTED, CONTACT, Contact, Event, Presence, Punctuality, Trust
from federation.types import HospitalNumber

WHO = HospitalNumber(1)


def after(*events: Event) -> Presence:
    presence = Presence(3)
    for event in events:
        presence.on(event, WHO)
    return presence


def test_a_hospital_is_connected_from_its_hello_until_it_is_silent() -> None:
    assert not after().connected(WHO)
    assert after(Event.JOINED).reachable() == {WHO}
    assert not after(Event.JOINED, Event.SILENT).connected(WHO)
    assert after(Event.JOINED, Event.SILENT, Event.HEARD).connected(WHO)


def test_a_hospital_that_was_not_let_in_cannot_be_heard() -> None:
    presence = after()
    assert not presence.on(Event.HEARD, WHO) and not presence.connected(WHO)
    assert not after(Event.JOINED, Event.REJECTED).connected(WHO)


def test_a_key_counts_only_from_a_hospital_that_was_told_to_get_or_make_one() -> None:
    assert not after(Event.JOINED).on(Event.SYNCHRONISED, WHO)
    for told in (Event.TOLD_TO_ASK, Event.TOLD_TO_MAKE):
        presence = after(Event.JOINED, told)
        assert presence.on(Event.SYNCHRONISED, WHO)
        assert presence[WHO].contact == Contact.ANSWERED


def test_a_hospital_that_is_late_twice_in_a_row_is_not_waited_for_until_it_answers() -> None:
    late = (Event.HEARD, Event.TOLD_TO_ASK, Event.LATE)
    assert after(Event.JOINED, *late[1:])[WHO].punctuality == Punctuality.LATE_ONCE
    twice = after(Event.JOINED, *late, *late)
    assert twice[WHO].punctuality == Punctuality.OFTEN_LATE
    for event in (Event.HEARD, Event.TOLD_TO_ASK, Event.SYNCHRONISED):
        twice.on(event, WHO)
    assert twice[WHO].punctuality == Punctuality.PROMPT


def test_only_a_new_process_makes_a_doubted_hospital_trusted_again() -> None:
    doubted = after(Event.JOINED, Event.AT_FAULT)
    for event in Event:
        if event not in (Event.JOINED, Event.AT_FAULT):
            doubted.on(event, WHO)
    assert doubted[WHO].trust == Trust.DOUBTED and WHO not in doubted.trusted()
    doubted.on(Event.JOINED, WHO)
    assert doubted.trusted() == {0, 1, 2}


def test_a_second_report_of_a_round_is_not_an_awaited_one() -> None:
    presence = after(Event.JOINED, Event.SENT_SUM)
    assert presence.which(Contact.REPORTING) == [WHO]
    assert presence.on(Event.REPORTED, WHO) and not presence.on(Event.REPORTED, WHO)


@pytest.mark.parametrize("state", CONNECTED)
def test_every_connected_hospital_can_fall_silent_and_be_restarted(state: Contact) -> None:
    assert CONTACT[state, Event.SILENT] == CONTACT[state, Event.LATE] == Contact.AWAY
    assert CONTACT[state, Event.JOINED] == Contact.PRESENT


def test_a_run_can_be_stopped_in_every_phase_and_goes_on_from_none_after_its_end() -> None:
    assert {phase for phase, cause in PHASES if cause == Cause.STOPPED} == set(Phase) - {
        Phase.FINISHED
    }
    assert not [phase for phase, _ in PHASES if phase == Phase.FINISHED]
