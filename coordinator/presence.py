"""Which hospital is connected, asked, synchronised, punctual, trusted: one table of transitions.

`Presence.on(event, who)` is the only place where any of it changes. An event for which a state has
no row changes nothing. docs/protocol.md shows the tables as diagrams (scripts/make_diagrams.py).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from federation.types import Digest, HospitalNumber, KeyIdentifier, SessionId


class Contact(StrEnum):
    """What the coordinator waits for from a hospital between two rounds."""

    UNKNOWN = "unknown"
    """It has not been let in."""
    AWAY = "away"
    """It did not answer in time, and is given up until something is heard from it."""
    PRESENT = "present"
    """It is connected, and nothing is awaited from it."""
    MAKING = "making"
    """It was told to make a group key."""
    ASKED = "asked"
    """It was told which hospital to ask for the group key or the model."""
    ANSWERED = "answered"
    """It said which key and model it holds."""
    LEFT_OUT = "left_out"
    """No hospital could serve it: the round may begin without it."""
    REPORTING = "reporting"
    """It was sent the aggregate, and has not reported yet."""
    REFUSED = "refused"
    """It refused the aggregate."""


class Punctuality(StrEnum):
    """How often in a row a hospital missed the deadline of synchronising."""

    PROMPT = "prompt"
    LATE_ONCE = "late_once"
    OFTEN_LATE = "often_late"
    """Rounds begin without waiting for it."""


class Trust(StrEnum):
    """Whether a hospital made a round fail."""

    TRUSTED = "trusted"
    DOUBTED = "doubted"
    """No round begins with it while the others are enough."""


class Event(StrEnum):
    """What happens to a hospital."""

    JOINED = "joined"
    """A new process of it said hello, with the agreed files."""
    REJECTED = "rejected"
    """It said hello with other files."""
    HEARD = "heard"
    """A message of it came."""
    SILENT = "silent"
    """It missed the deadline of a round or of its report."""
    LATE = "late"
    """It missed the deadline of synchronising, as asker or as source."""
    TOLD_TO_MAKE = "told_to_make"
    TOLD_TO_ASK = "told_to_ask"
    SYNCHRONISED = "synchronised"
    FAILED = "failed"
    """It, or the source that it asked, could not do what it was asked."""
    FREED = "freed"
    """What it was told before is void: it is told again."""
    NO_SOURCE = "no_source"
    """Every hospital that could serve it has failed to."""
    SENT_SUM = "sent_sum"
    """The aggregate was sent to it."""
    REPORTED = "reported"
    """It applied the aggregate."""
    REFUSED_SUM = "refused_sum"
    AT_FAULT = "at_fault"
    """A round was aborted because of what it sent."""


CONNECTED = tuple(state for state in Contact if state not in (Contact.UNKNOWN, Contact.AWAY))
TOLD = (Contact.MAKING, Contact.ASKED, Contact.ANSWERED, Contact.LEFT_OUT)
AFTER_SUM = (Contact.REPORTING, Contact.REFUSED)

CONTACT: Mapping[tuple[Contact, Event], Contact] = {
    **{(state, Event.JOINED): Contact.PRESENT for state in Contact},
    **{(state, Event.REJECTED): Contact.UNKNOWN for state in Contact},
    (Contact.AWAY, Event.HEARD): Contact.PRESENT,
    **{(state, Event.SILENT): Contact.AWAY for state in CONNECTED},
    **{(state, Event.LATE): Contact.AWAY for state in CONNECTED},
    (Contact.PRESENT, Event.TOLD_TO_MAKE): Contact.MAKING,
    (Contact.PRESENT, Event.TOLD_TO_ASK): Contact.ASKED,
    (Contact.PRESENT, Event.NO_SOURCE): Contact.LEFT_OUT,
    (Contact.MAKING, Event.SYNCHRONISED): Contact.ANSWERED,
    (Contact.ASKED, Event.SYNCHRONISED): Contact.ANSWERED,
    (Contact.ANSWERED, Event.SYNCHRONISED): Contact.ANSWERED,
    (Contact.ASKED, Event.FAILED): Contact.PRESENT,
    (Contact.ANSWERED, Event.FAILED): Contact.LEFT_OUT,
    **{(state, Event.FREED): Contact.PRESENT for state in (*TOLD, *AFTER_SUM)},
    **{(state, Event.SENT_SUM): Contact.REPORTING for state in CONNECTED},
    (Contact.REPORTING, Event.REPORTED): Contact.PRESENT,
    (Contact.REPORTING, Event.REFUSED_SUM): Contact.REFUSED,
}

PUNCTUALITY: Mapping[tuple[Punctuality, Event], Punctuality] = {
    (Punctuality.PROMPT, Event.LATE): Punctuality.LATE_ONCE,
    (Punctuality.LATE_ONCE, Event.LATE): Punctuality.OFTEN_LATE,
    (Punctuality.LATE_ONCE, Event.SYNCHRONISED): Punctuality.PROMPT,
    (Punctuality.OFTEN_LATE, Event.SYNCHRONISED): Punctuality.PROMPT,
    (Punctuality.LATE_ONCE, Event.JOINED): Punctuality.PROMPT,
    (Punctuality.OFTEN_LATE, Event.JOINED): Punctuality.PROMPT,
}

TRUST: Mapping[tuple[Trust, Event], Trust] = {
    (Trust.TRUSTED, Event.AT_FAULT): Trust.DOUBTED,
    (Trust.DOUBTED, Event.JOINED): Trust.TRUSTED,
}


@dataclass
class Hospital:
    """One hospital: its three states, and what it last said of itself."""

    contact: Contact = Contact.UNKNOWN
    punctuality: Punctuality = Punctuality.PROMPT
    trust: Trust = Trust.TRUSTED
    session: SessionId | None = None
    applied: int = -1
    """The round of its model."""
    epoch: int | None = None
    """The epoch of the group key that it holds."""
    group_key: KeyIdentifier | None = None
    model: Digest | None = None
    code: str = ""
    """The reason of its last refusal, or of the coordinator's refusal to let it in."""
    scored: int = 0
    """The last round whose score it shared."""
    accuracy: float | None = None
    clipped: int | None = None


class Presence:
    """All hospitals of a roster, by number."""

    def __init__(self, count: int) -> None:
        self.hospitals = [Hospital() for _ in range(count)]

    def __getitem__(self, who: HospitalNumber) -> Hospital:
        return self.hospitals[who]

    def on(self, event: Event, who: HospitalNumber) -> bool:
        """Something happened to hospital `who`.

        Returns:
            Whether the contact table has a row for it.
        """
        one = self.hospitals[who]
        known = (one.contact, event) in CONTACT
        one.contact = CONTACT.get((one.contact, event), one.contact)
        one.punctuality = PUNCTUALITY.get((one.punctuality, event), one.punctuality)
        one.trust = TRUST.get((one.trust, event), one.trust)
        return known

    def connected(self, who: HospitalNumber) -> bool:
        """Whether something is to be expected from this hospital."""
        return self.hospitals[who].contact in CONNECTED

    def all(self) -> list[HospitalNumber]:
        """Every number, ascending."""
        return [HospitalNumber(who) for who in range(len(self.hospitals))]

    def reachable(self) -> frozenset[HospitalNumber]:
        """The connected hospitals."""
        return frozenset(who for who in self.all() if self.connected(who))

    def which(self, *contacts: Contact) -> list[HospitalNumber]:
        """The hospitals in one of these states, ascending."""
        return [who for who in self.all() if self.hospitals[who].contact in contacts]

    def trusted(self) -> frozenset[HospitalNumber]:
        """The hospitals that no round has failed for."""
        return frozenset(who for who in self.all() if self.hospitals[who].trust == Trust.TRUSTED)
