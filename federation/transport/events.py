"""What a link reports to its owner.

A `reason` is a sentence for this side's operator; it never crosses the wire. These events concern
connections and packets. A *message* of the federation that is malformed raises `MalformedMessage`,
and a hospital that takes no part in a round sends the message `Refusal`.
"""

from __future__ import annotations

from dataclasses import dataclass

from federation.transport.packets import Buffer


@dataclass(frozen=True)
class Received:
    """A whole message. Frames of up to 1 MiB are `bytes`, longer ones read-only memoryviews."""

    peer: bytes
    frames: list[Buffer]


@dataclass(frozen=True)
class Connected:
    """The peer has proved its key and speaks our version of the link."""

    peer: bytes


@dataclass(frozen=True)
class Disconnected:
    """There is no connection. A hospital tries again; unacknowledged messages are then resent."""

    peer: bytes
    reason: str


@dataclass(frozen=True)
class Denied:
    """A connection or a message was not accepted, by the peer or by us."""

    peer: bytes | str  # a public key, or an address if no key is known
    reason: str


@dataclass(frozen=True)
class Violation:
    """The peer broke the rules of the link. Its packet is dropped; the connection stays."""

    peer: bytes
    reason: str


Event = Received | Connected | Disconnected | Denied | Violation

REPEAT_S = 60.0  # the same sentence is reported at most this often
_REMEMBERED = 512  # sentences


class Announcements:
    """The events that wait for the owner, without repetitions of one sentence."""

    def __init__(self) -> None:
        self._events: list[Event] = []
        self._said: dict[tuple[object, ...], float] = {}

    def __bool__(self) -> bool:
        return bool(self._events)

    def take(self) -> list[Event]:
        """Return all events since the last call, oldest first."""
        events, self._events = self._events, []
        return events

    def say(self, event: Event) -> None:
        """Report an event, however often it comes."""
        self._events.append(event)

    def say_seldom(
        self, event: Denied | Disconnected | Violation, now: float, every_s: float = REPEAT_S
    ) -> None:
        """Report an event unless the same one was reported less than `every_s` ago.

        At most 512 different sentences are reported in that time, so that a peer that causes ever
        new ones cannot flood the operator.
        """
        key = (type(event), event.peer, event.reason)
        self._said = {old: until for old, until in self._said.items() if until > now}
        if key not in self._said and len(self._said) < _REMEMBERED:
            self._said[key] = now + every_s
            self._events.append(event)
