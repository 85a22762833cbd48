"""What a link tells its owner. A `reason` is a sentence for this side's operator; none of it
crosses the wire.
"""

from __future__ import annotations

from dataclasses import dataclass

from federation.transport.packets import Buffer


@dataclass(frozen=True)
class Received:
    """A whole message. Frames up to 1 MiB are `bytes`; longer ones are read-only memoryviews of a
    buffer of their own.
    """

    peer: bytes
    frames: list[Buffer]


@dataclass(frozen=True)
class Connected:
    """The peer is there, proved its key and speaks our version of the link."""

    peer: bytes


@dataclass(frozen=True)
class Disconnected:
    """There is no connection. A hospital goes on trying; what is not acknowledged is sent again on
    the next one.
    """

    peer: bytes
    reason: str


@dataclass(frozen=True)
class Refused:
    """We or our message were turned away, or we turned somebody away. `reason` is a sentence for
    the operator.
    """

    peer: bytes | str  # a public key, or an address where no key is known
    reason: str


@dataclass(frozen=True)
class Malformed:
    """The peer broke the rules of the link; what it sent is dropped, the connection stays."""

    peer: bytes
    reason: str


Event = Received | Connected | Disconnected | Refused | Malformed

REPEAT_S = 60.0  # the same sentence at most this often
_REMEMBERED = 512  # sentences


class Announcements:
    """The events that wait for the owner; a sentence that comes again and again is said once in a
    while.
    """

    def __init__(self) -> None:
        self._events: list[Event] = []
        self._said: dict[tuple[object, ...], float] = {}

    def __bool__(self) -> bool:
        return bool(self._events)

    def take(self) -> list[Event]:
        """All events since the last call, oldest first."""
        events, self._events = self._events, []
        return events

    def say(self, event: Event) -> None:
        self._events.append(event)

    def say_seldom(
        self, event: Refused | Disconnected | Malformed, now: float, every_s: float = REPEAT_S
    ) -> None:
        """Unless the same was said less than `every_s` ago, or somebody makes us say too many
        different things.
        """
        key = (type(event), event.peer, event.reason)
        self._said = {old: until for old, until in self._said.items() if until > now}
        if key not in self._said and len(self._said) < _REMEMBERED:
            self._said[key] = now + every_s
            self._events.append(event)
