"""The coordinator's side of all connections: which keys are admitted, by which route. No I/O."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from federation.transport.contacts import Contacts, Route
from federation.transport.events import Connected, Denied, Disconnected, Violation
from federation.transport.packets import (
    CLOSED_REMOVED,
    CLOSED_REPLACED,
    CLOSED_VERSION,
    OPEN,
    OPENED,
    Buffer,
    MalformedPacket,
    WrongVersion,
    decode,
)


class Reception(Contacts):
    """The coordinator's side. If two connections use one key, the newest one replaces the other."""

    def __init__(self, admits: Callable[[bytes], bool], limit: Callable[[bytes], int]) -> None:
        super().__init__(limit)
        self._admits = admits
        self._routes: dict[bytes, Route] = {}
        # file descriptor of a connection -> the peer and its route
        self._lines: dict[int, tuple[bytes, Route]] = {}

    def routes(self) -> list[tuple[bytes, Route]]:
        return list(self._routes.items())

    def authenticate(self, key: bytes, address: str, now: float) -> bool:
        """Return True if this key is admitted.

        Called before a handshake ends: a stranger receives nothing, not even an answer.
        """
        if self._admits(key):
            return True
        what = (
            f"a program at {address} tried to connect with the key {key.hex()}, which is not in the"
            " roster; it received nothing"
        )
        self.announcements.say_seldom(
            Denied(key, f"{what}. If you know it, admit it with `flop roster add`"), now
        )
        return False

    def receive(
        self, peer: bytes, route: Route, line: int, frames: Sequence[Buffer], now: float
    ) -> None:
        """Take a packet of an authenticated peer.

        Args:
            peer: Its CURVE public key, as the handshake proved it.
            route: The connection that it came over.
            line: The file descriptor of that connection.
            frames: The packet, decrypted.
            now: Seconds on the link's clock.
        """
        if not self._admits(peer):
            self.signals[peer, route] = CLOSED_REMOVED
            self.lost(peer, route, "it is no longer in the roster")
            return
        try:
            packet = decode(frames)
            if packet == OPEN:
                self._join(peer, route, line)
            elif self._routes.get(peer) == route:  # another route is a replaced connection
                self._converse(peer, packet)
            self.heard[peer] = now
        except MalformedPacket as error:
            self.announcements.say_seldom(Violation(peer, str(error)), now, every_s=1.0)
            if isinstance(error, WrongVersion):
                self.signals[peer, route] = CLOSED_VERSION

    def lost(self, peer: bytes, route: Route, reason: str = "the connection is lost") -> None:
        """Forget this connection, and report it if it was the newest one."""
        if self._routes.get(peer) == route:
            del self._routes[peer]
            self.announcements.say(Disconnected(peer, reason))

    def hung_up(self, line: int) -> None:
        """Note that the connection with this file descriptor is closed."""
        if line in self._lines:
            self.lost(*self._lines.pop(line))

    def _join(self, peer: bytes, route: Route, line: int) -> None:
        before = self._routes.get(peer)
        if before != route:
            if before is not None:
                self.signals[peer, before] = CLOSED_REPLACED
                self.lost(peer, before, "a newer connection with the same key took its place")
            self._routes[peer], self._lines[line] = route, (peer, route)
            self.conversation(peer).reconnected()
            self.announcements.say(Connected(peer))
        self.signals[peer, route] = OPENED
