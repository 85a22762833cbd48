"""What the operator of a hospital reads about a round or a run."""

from __future__ import annotations

from federation.errors import FaultyHospital, Reason
from federation.roster import Roster

_ADVICE: dict[str, str] = {
    Reason.VERSION: (
        "it speaks another protocol version; install the same release as the coordinator"
    ),
    Reason.CONFIG: "its federation.toml is another one; copy the coordinator's again",
    Reason.ROSTER: (
        "its roster.toml is another one; copy the coordinator's again and accept its fingerprint"
    ),
    Reason.THRESHOLD: "too few hospitals were left",
    Reason.CONTEXT: "the hospitals held different models or group keys",
    Reason.RANGE: "the sum was outside of what the hospitals could have sent",
    Reason.SHARE: "a hospital dealt wrong shares",
}


def rejected(code: str) -> str:
    """The coordinator does not admit this hospital."""
    return f"the coordinator turned this hospital away: {_ADVICE.get(code, code)}"


def aborted(round_: int, code: str) -> str:
    """The coordinator has ended a round without a result."""
    return f"round {round_} was aborted: {_ADVICE.get(code, code)}"


def late(round_: int, message: str) -> str:
    """A message, named by its type, belongs to a round that this hospital has left."""
    return f"round {round_}: {message} came after this hospital had left the round"


def refused(message: str, text: str) -> str:
    """This hospital does not accept a message, named by its type."""
    return f"refused {message}: {text}"


def faulty(error: FaultyHospital, roster: Roster) -> str:
    """Another hospital broke the protocol; it is named if its number is in the roster."""
    known = error.who < len(roster)
    return f"{roster.id_of(error.who)}: {error}" if known else str(error)


def too_close(earlier: int, later: int, names: list[str]) -> str:
    """The sums of two rounds differ by the updates of only these hospitals."""
    if len(names) == 1:
        whose, gain = names[0], f"{names[0]}'s update"
    else:
        whose = f"{', '.join(names[:-1])} and {names[-1]}"
        gain = f"the sum of the updates of {whose}"
    return (
        f"WARNING: rounds {earlier} and {later} had the same participants except {whose}. Anyone"
        f" with both sums can subtract them and obtain {gain}."
    )
