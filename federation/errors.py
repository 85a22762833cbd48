"""The one tree of errors. Only a reason *code* ever crosses the wire; the sentence stays home."""

from __future__ import annotations

from enum import StrEnum

from crypto.errors import CryptoError, OutOfRange

__all__ = [
    "ConfigError",
    "CryptoError",
    "FaultyCoordinator",
    "FaultyHospital",
    "FederationError",
    "LocalProtocolError",
    "MalformedMessage",
    "OutOfRange",
    "PeerError",
    "Reason",
    "RoundAborted",
]


class Reason(StrEnum):
    """Why something was refused or ended: the only thing about an error that a peer is told."""

    VERSION = "version"  # the peer speaks another protocol version
    CONFIG = "config"  # another federation.toml
    ROSTER = "roster"  # another roster
    COHORT = "cohort"  # not the cohort that the agreed function gives, or too small
    REPLAY = "replay"  # a round that was answered before
    CONTEXT = "context"  # hospitals stand at different models or hold different group keys
    MALFORMED = "malformed"  # bytes or values that the protocol does not allow
    UNEXPECTED = "unexpected"  # a known message at the wrong time
    SIGNATURE = "signature"
    SHARE = "share"  # a secret share that is not what its dealer committed to
    THRESHOLD = "threshold"  # too few hospitals are left
    RANGE = "range"  # a sum outside of what the survivors could have sent
    AGGREGATE = "aggregate"  # an aggregate that is not the sum of the survivors' updates
    TRAINING = "training"  # training failed
    STOPPED = "stopped"  # its operator stopped it
    POLICY = "policy"  # a hospital's own policy refuses
    LOST = "lost"  # nothing heard for longer than `patience`
    INTERNAL = "internal"


class FederationError(Exception):
    """Root of all our errors. `reason` is what a peer may be told."""

    reason = Reason.INTERNAL

    def __init__(self, text: str, reason: Reason | None = None) -> None:
        super().__init__(text)
        if reason is not None:
            self.reason = reason


class ConfigError(FederationError):
    """The user's input: the text names the file, the key and the fix."""

    exit_code = 2
    reason = Reason.CONFIG


class LocalProtocolError(FederationError):
    """Our own bug: a step was taken out of order."""


class PeerError(FederationError):
    """Somebody else's fault, whoever it may be."""


class MalformedMessage(PeerError):
    """Bytes that are not a valid message."""

    reason = Reason.MALFORMED


class FaultyHospital(PeerError):
    """The hospital `who` (its roster number) broke the protocol."""

    def __init__(self, who: int, text: str, reason: Reason) -> None:
        super().__init__(f"hospital {who}: {text}", reason)
        self.who, self.what = who, text


class FaultyCoordinator(PeerError):
    """The coordinator broke the protocol, or relayed something that it must not relay."""

    def __init__(self, text: str, reason: Reason) -> None:
        super().__init__(f"coordinator: {text}", reason)


class RoundAborted(FederationError):
    """This round ends without a result; the next one starts."""

    def __init__(self, text: str, reason: Reason) -> None:
        super().__init__(text, reason)
