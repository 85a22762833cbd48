"""Sockets: reliable, ordered, authenticated multipart messages between one coordinator and its hospitals (the only file with zmq)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

Buffer = bytes | memoryview
Tap = Callable[[str, bytes, Sequence[Buffer]], None]


@dataclass(frozen=True)
class CurveKeys:
    """A CURVE key pair: two times 32 raw bytes. `public` is the party's identity everywhere else in the project."""

    public: bytes
    secret: bytes = field(repr=False)

    @classmethod
    def generate(cls) -> CurveKeys:
        """A new pair from the operating system's randomness."""
        raise NotImplementedError


@dataclass(frozen=True)
class Received:
    """A whole message. Frames up to 1 MiB are `bytes`; longer ones are read-only memoryviews of a buffer of their own."""

    peer: bytes
    frames: list[Buffer]


@dataclass(frozen=True)
class Connected:
    """The peer is there, proved its key and speaks our version of the link."""

    peer: bytes


@dataclass(frozen=True)
class Disconnected:
    """The connection is gone; a hospital goes on trying, what is unacknowledged is sent again when it is back."""

    peer: bytes
    reason: str


@dataclass(frozen=True)
class Refused:
    """We or our message were turned away, or we turned somebody away. `reason` is a sentence for the operator."""

    peer: bytes | str  # a public key, or an address where no key is known
    reason: str


@dataclass(frozen=True)
class Malformed:
    """The peer broke the rules of the link; what it sent is dropped, the connection stays."""

    peer: bytes
    reason: str


Event = Received | Connected | Disconnected | Refused | Malformed


class AddressError(ValueError):
    """An address that cannot be read, or that cannot be listened at."""


def parse_address(text: str) -> str:
    """`host:port` or `tcp://host:port` as a ZeroMQ endpoint. Raises AddressError with one sentence otherwise."""
    raise NotImplementedError


class CoordinatorLink:
    """The listening side. One thread uses it; only `wake` may be called from others."""

    address: str  # the bound endpoint, with the real port

    def __init__(
        self,
        bind: str,
        keys: CurveKeys,
        admits: Callable[[bytes], bool],
        limit: Callable[[bytes], int],
        tap: Tap | None = None,
    ) -> None:
        raise NotImplementedError

    def send(self, peer: bytes, frames: Sequence[Buffer], urgent: bool = False) -> bool:
        """Queue a message; never blocks. False (and a Refused event): too many already wait for this peer."""
        raise NotImplementedError

    def poll(self, timeout_s: float) -> list[Event]:
        """Serve the sockets until there is an event, `wake` is called, or the time is over."""
        raise NotImplementedError

    def wake(self) -> None:
        """Make `poll` return at once; from any thread."""
        raise NotImplementedError

    def forget(self, peer: bytes) -> None:
        """Drop what waits for this peer and what it has half sent."""
        raise NotImplementedError

    def close(self, linger_s: float = 0.0) -> None:
        """Wait up to `linger_s` for acknowledgements of what was sent, then close."""
        raise NotImplementedError


class HospitalLink(CoordinatorLink):
    """The connecting side; its only peer is the coordinator's public key."""

    def __init__(
        self,
        connect: str,
        keys: CurveKeys,
        coordinator_public: bytes,
        limit: Callable[[bytes], int],
        tap: Tap | None = None,
    ) -> None:
        raise NotImplementedError
