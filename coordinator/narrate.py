"""What the operator reads of an event: who, what happened, what follows, what to do."""

from __future__ import annotations

from federation.effects import Finished
from federation.errors import Reason
from federation.records.events import (
    ConnectionRefused,
    HospitalAtFault,
    HospitalDisconnected,
    HospitalJoined,
    HospitalLost,
    HospitalRefused,
    HospitalRejected,
    Logged,
    RoundDiscarded,
    RoundFailed,
    RoundReported,
    UnreadableMessage,
)


def sentence(event: Logged, rounds: int) -> str | None:
    """The sentence about `event` in a run of so many rounds, None if it is only for the log."""
    match event:
        case HospitalJoined(hospital=who):
            return f"{who} joined."
        case HospitalRejected(hospital=who, text=text):
            return (
                f"{who} was turned away: {text}. Send it the coordinator's file; it is let in when"
                " it starts again."
            )
        case HospitalDisconnected(hospital=who, text=text):
            return (
                f"{who} lost its connection ({text}). It stays in the round if it comes back in"
                " time."
            )
        case ConnectionRefused(text=text):
            return f"A connection was refused: {text}"
        case UnreadableMessage(hospital=who, text=text):
            return (
                f"{who} sent something that breaks the protocol: {text}. It is out of this round;"
                " the others go on."
            )
        case HospitalRefused(hospital=who, round=0, code=code):
            return f"{who} refused to synchronise (reason: {code}). Its own log says why."
        case HospitalRefused(hospital=who, round=round_, code=code):
            return f"{who} refused round {round_} (reason: {code}). Its own log says why."
        case HospitalLost(hospital=who, phase=phase, text=text):
            return f"{who} {text}: it is out of this round (phase {phase}), and the others go on."
        case HospitalAtFault(hospital=who, text=text):
            return (
                f"{who} broke the protocol: {text}. Ask its operator whether its software or its"
                " machine was changed."
            )
        case RoundFailed(round=round_, text=text):
            return f"Round {round_} ended without a result: {text}. The models stay as they were."
        case RoundDiscarded(round=round_):
            return (
                f"Round {round_} was discarded: most hospitals refused the sum, so the models stay"
                " as they were. The hospitals' logs say why."
            )
        case RoundReported(round=round_):
            return f"Round {round_} of {rounds} is done{_mean(event)}."
    return None


def end(finished: Finished, rounds: int) -> str:
    """The last sentence of a run."""
    succeeded = f"{finished.completed} of {rounds} rounds succeeded"
    if not finished.code:
        return f"The run is over: {succeeded}."
    if finished.code == Reason.STOPPED:
        return f"The run was stopped: {succeeded}. Start it again with the same --out to go on."
    return f"The run ended early (reason: {finished.code}): {succeeded}."


def _mean(event: RoundReported) -> str:
    scores = event.accuracy.values()
    if not scores:
        return ""
    return f", mean accuracy of the local tests {100 * sum(scores) / len(scores):.1f} %"
