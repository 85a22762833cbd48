"""What the coordinator checks of a message between rounds before it acts on it."""

from __future__ import annotations

from federation.config import FederationConfig
from federation.errors import Reason
from federation.groupkey import asked_by, sealable
from federation.messages import Hello, StateAnswer, StateRequest
from federation.roster import Roster
from federation.types import HospitalNumber, RunId


def other_file(config: FederationConfig, roster: Roster, hello: Hello) -> tuple[Reason, str] | None:
    """Return the reason code and the name of the file that this hospital has another version of,
    None if it has the coordinator's files.
    """
    if hello.config != config.digest:
        return Reason.CONFIG, "federation.toml"
    if hello.roster != roster.digest:
        return Reason.ROSTER, "roster.toml"
    return None


def receiver_of(
    who: HospitalNumber, message: StateRequest | StateAnswer, roster: Roster
) -> HospitalNumber | None:
    """Return to whom a message of hospital `who` is to be relayed, None if it names another sender
    or no other hospital.
    """
    sender, receiver = message.asker, message.source
    if isinstance(message, StateAnswer):
        sender, receiver = receiver, sender
    return receiver if sender == who != receiver and receiver < len(roster) else None


def request_fault(run: RunId, roster: Roster, request: StateRequest) -> str | None:
    """Return what is wrong with a request for key and model, None if nothing is.

    It is checked before it is relayed: a source that must refuse a bad request would look faulty to
    every other hospital that asks it.
    """
    if not asked_by(run, roster, request):
        return "did not sign its request for key and model"
    if not sealable(roster, request):
        return "asked for key and model with a key to which nothing can be sealed"
    return None
