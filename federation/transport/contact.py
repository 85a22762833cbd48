"""Who is connected, over which connection, and what the operator should know about it. No I/O; time
comes in as `now`.

A hospital says HELLO on each new connection, the coordinator WELCOME; from then on both send what
the other has not yet acknowledged. `Reception` is the coordinator's side, `Dialling` a hospital's.
A `route` is where a packet for a peer goes: the routing id of its newest connection, or nothing
where there is only one way.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from enum import Enum, auto

from federation.transport.address import Diagnosis
from federation.transport.events import (
    Announcements,
    Connected,
    Disconnected,
    Malformed,
    Received,
    Refused,
)
from federation.transport.packets import (
    BYE_REMOVED,
    BYE_REPLACED,
    BYE_VERSION,
    HELLO,
    WELCOME,
    Buffer,
    Data,
    MalformedPacket,
    Packet,
    Probe,
    Signal,
    WrongVersion,
    decode,
)
from federation.transport.transfer import Conversation, TooLong

PROBE_S = 10.0  # without a word while something is under way: ask
HELLO_S = 5.0  # without a welcome: say hello again
SILENCE_S = 7.0  # without an answer to a handshake or a hello: tell the operator
DOWN_S = 2.0  # a coordinator that starts a moment later is nothing to report
REDIAL_S = 3.0  # libzmq gives up after a refusal; we try again

Route = tuple[bytes, ...]


class Contacts:
    """What both sides share: a conversation with every peer, and the events."""

    def __init__(self, limit: Callable[[bytes], int]) -> None:
        self.announcements = Announcements()
        # to be sent when possible; the latest one is enough
        self.signals: dict[tuple[bytes, Route], Signal] = {}
        self.heard: dict[bytes, float] = {}  # when a packet last came
        self.closing = False
        self._limit = limit
        self._conversations: dict[bytes, Conversation] = {}
        self._quiet: dict[bytes, float] = {}  # when nothing was under way, or we last asked

    def conversation(self, peer: bytes) -> Conversation:
        """The conversation with this peer, begun now if need be."""
        if peer not in self._conversations:
            self._conversations[peer] = Conversation()
        return self._conversations[peer]

    def routes(self) -> list[tuple[bytes, Route]]:
        """Connected peers, and where packets for them go."""
        raise NotImplementedError

    def pending(self) -> bool:
        """A connected peer has not acknowledged all."""
        return any(self.conversation(peer).pending for peer, _ in self.routes())

    def send(self, peer: bytes, frames: Sequence[Buffer], urgent: bool) -> bool:
        """Queue a message; False, and an event, if too many wait."""
        if self.conversation(peer).send(frames, urgent):
            return True
        self.announcements.say(
            Refused(peer, "too many messages wait for this peer: the newest one was dropped")
        )
        return False

    def forget(self, peer: bytes) -> None:
        """Drop what waits for this peer and what it has half sent."""
        if peer in self._conversations:
            self._conversations[peer].forget()

    def probes(self, now: float) -> list[tuple[bytes, Route, Probe]]:
        """What to ask peers of whom nothing was heard for long."""
        due = []
        for peer, route in self.routes():
            questions = self.conversation(peer).probes()
            if (
                questions
                and now - max(self.heard.get(peer, 0.0), self._quiet.setdefault(peer, now))
                <= PROBE_S
            ):
                continue
            self._quiet[peer] = now
            due += [(peer, route, question) for question in questions]
        return due

    def _converse(self, peer: bytes, packet: Packet) -> None:
        if self.closing and isinstance(packet, Data):
            return  # nobody would see the message, so it must not be acknowledged
        outcome = self.conversation(peer).receive(packet, self._limit(peer))
        if isinstance(outcome, TooLong):
            sizes = f"a message of {outcome.size:,} bytes, where {outcome.limit:,} are allowed now"
            ours, theirs = (
                Refused(peer, f"it did not take {sizes}"),
                Malformed(peer, f"it wanted to send {sizes}"),
            )
            self.announcements.say(ours if outcome.ours else theirs)
        elif outcome is not None:
            self.announcements.say(Received(peer, outcome))


class Reception(Contacts):
    """The coordinator's side. Two live connections with one key: the newest wins, and the other one
    is told.
    """

    def __init__(self, admits: Callable[[bytes], bool], limit: Callable[[bytes], int]) -> None:
        super().__init__(limit)
        self._admits = admits
        self._routes: dict[bytes, Route] = {}
        # file descriptor -> whose connection it is
        self._lines: dict[int, tuple[bytes, Route]] = {}

    def routes(self) -> list[tuple[bytes, Route]]:
        return list(self._routes.items())

    def authenticate(self, key: bytes, address: str, now: float) -> bool:
        """May this key in? Asked before a handshake ends; a stranger gets nothing, not even an
        answer of ours.
        """
        if self._admits(key):
            return True
        what = (
            f"a hospital at {address} with the key {key.hex()} is not in the roster; it got nothing"
        )
        self.announcements.say_seldom(
            Refused(key, f"{what}. If you know it, admit it with `flop roster add`"), now
        )
        return False

    def receive(
        self, peer: bytes, route: Route, line: int, frames: Sequence[Buffer], now: float
    ) -> None:
        """A packet of an authenticated peer, from the connection `route` over the file descriptor
        `line`.
        """
        if not self._admits(peer):
            self.signals[peer, route] = BYE_REMOVED
            self.lost(peer, route, "it is no longer in the roster")
            return
        try:
            packet = decode(frames)
            if packet == HELLO:
                self._join(peer, route, line)
            elif self._routes.get(peer) == route:  # others belong to a connection that is replaced
                self._converse(peer, packet)
            self.heard[peer] = now
        except MalformedPacket as error:
            self.announcements.say_seldom(Malformed(peer, str(error)), now, every_s=1.0)
            if isinstance(error, WrongVersion):
                self.signals[peer, route] = BYE_VERSION

    def lost(self, peer: bytes, route: Route, reason: str = "the connection is lost") -> None:
        """This connection is gone."""
        if self._routes.get(peer) == route:
            del self._routes[peer]
            self.announcements.say(Disconnected(peer, reason))

    def hung_up(self, line: int) -> None:
        """The file descriptor is closed."""
        if line in self._lines:
            self.lost(*self._lines.pop(line))

    def _join(self, peer: bytes, route: Route, line: int) -> None:
        before = self._routes.get(peer)
        if before != route:
            if before is not None:
                self.signals[peer, before] = BYE_REPLACED
                self.lost(peer, before, "a newer connection with the same key took its place")
            self._routes[peer], self._lines[line] = route, (peer, route)
            self.conversation(peer).reconnected()
            self.announcements.say(Connected(peer))
        self.signals[peer, route] = WELCOME


class Stage(Enum):
    """How far a hospital's connection has come."""

    DOWN = auto()
    REACHED = auto()  # TCP
    SECURE = auto()  # both keys are proved
    JOINED = auto()  # welcome
    CAST_OUT = auto()  # bye


class Dialling(Contacts):
    """A hospital's side. libzmq never says why there is silence; what its monitor lets slip is put
    into sentences here.
    """

    def __init__(
        self,
        endpoint: str,
        key: bytes,
        coordinator: bytes,
        limit: Callable[[bytes], int],
        now: float,
    ) -> None:
        super().__init__(limit)
        self._endpoint, self._where = endpoint, endpoint.removeprefix("tcp://")
        self._key, self._peer = key, coordinator
        self._stage, self._since = Stage.DOWN, now
        self._again_at: float | None = None  # when to say hello, or to dial, again
        self._explained = False  # why the last attempt failed
        self._farewells = {
            BYE_REPLACED: (
                "another process uses this hospital's key and has taken its place: stop one of"
                " the two"
            ),
            BYE_REMOVED: (
                "the coordinator has taken this hospital out of its roster: ask its operator"
            ),
            BYE_VERSION: (
                "the coordinator runs another version of this program: install the same release on"
                " both sides"
            ),
        }

    def routes(self) -> list[tuple[bytes, Route]]:
        return [(self._peer, ())] if self._stage is Stage.JOINED else []

    def connected(self, now: float) -> None:
        """The TCP connection stands."""
        self._enter(Stage.REACHED, now)
        self._explained = False

    def secured(self, now: float) -> None:
        """The handshake succeeded."""
        self._enter(Stage.SECURE, now)
        self._again_at = now

    def not_admitted(self, now: float) -> None:
        """The coordinator's ZAP handler said no."""
        what = (
            f"the coordinator at {self._where} does not admit this hospital, whose key is"
            f" {self._key.hex()}"
        )
        mend = (
            "send this hospital's .pub file to its operator, who admits it with `flop roster add`"
        )
        self._explain(Refused(self._peer, f"{what}: {mend}"), now)

    def not_recognised(self, silent: bool, now: float) -> None:
        """The handshake failed without a word: it was cut off, or (`silent`) never answered."""
        if silent:
            why = (
                f"{self._where} takes the connection but says nothing: the coordinator hangs, or it"
                " is another program"
            )
        else:
            wrong = f"it is not the coordinator with the key {self._peer.hex()}"
            why = (
                f"{self._where} hung up during the handshake: {wrong}; compare fingerprints with"
                " its operator"
            )
        self._explain(Refused(self._endpoint, why), now)

    def hung_up(self, now: float) -> None:
        """The TCP connection is gone. After a refusal libzmq does not dial again, so we may have
        to.
        """
        if self._stage in (Stage.SECURE, Stage.JOINED):
            self.announcements.say(
                Disconnected(self._peer, f"the connection to {self._where} is lost; trying again")
            )
        elif self._stage is Stage.REACHED and not self._explained:
            self._explain(
                Refused(
                    self._endpoint, f"what listens at {self._where} is not a coordinator of ours"
                ),
                now,
            )
        self._enter(Stage.DOWN, now)
        self.signals.clear()
        self._again_at = now + REDIAL_S

    def redials(self, now: float) -> bool:
        """libzmq dials again by itself. True: it has for so long that one should find out why."""
        if self._stage is Stage.DOWN:
            self._again_at = None
        return self._stage is Stage.DOWN and now - self._since > DOWN_S

    def diagnosed(self, diagnosis: Diagnosis, now: float) -> None:
        """Why there is no connection."""
        if self._stage is Stage.DOWN and diagnosis.reason is not None:
            self._explain(Disconnected(self._peer, f"{diagnosis.reason} (trying again)"), now)

    def tick(self, now: float) -> bool:
        """Say hello, or complain, when it is time. True: dial again."""
        due = self._again_at is not None and now >= self._again_at
        if not self._explained and now - self._since > SILENCE_S:
            if self._stage is Stage.SECURE:
                what = (
                    f"the coordinator at {self._where} admits this hospital but does not answer: it"
                    " is busy, or hangs"
                )
                self._explain(Disconnected(self._peer, f"{what} (trying again)"), now)
            elif self._stage is Stage.DOWN:
                what = (
                    f"there is no connection to {self._where}: is the name or address right, and"
                    " does DNS answer?"
                )
                self._explain(Disconnected(self._peer, f"{what} (trying again)"), now)
        if due and self._stage in (Stage.SECURE, Stage.CAST_OUT):
            self.signals[self._peer, ()] = HELLO
            self._again_at = now + HELLO_S
        elif due:
            self._again_at = None
            return self._stage is Stage.DOWN
        return False

    def receive(self, frames: Sequence[Buffer], now: float) -> None:
        """A packet of the coordinator, whose key the handshake has proved."""
        self.heard[self._peer] = now
        try:
            packet = decode(frames)
            if packet == WELCOME:
                if self._stage in (Stage.SECURE, Stage.CAST_OUT):
                    self._enter(Stage.JOINED, now)
                    self.conversation(self._peer).reconnected()
                    self.announcements.say(Connected(self._peer))
            elif isinstance(packet, Signal) and packet in self._farewells:
                self._enter(Stage.CAST_OUT, now)
                self._again_at = None if packet == BYE_REPLACED else now + 2 * HELLO_S
                self.announcements.say_seldom(Refused(self._peer, self._farewells[packet]), now)
            else:
                self._converse(self._peer, packet)
        except MalformedPacket as error:
            self.announcements.say_seldom(Malformed(self._peer, str(error)), now, every_s=1.0)

    def _enter(self, stage: Stage, now: float) -> None:
        self._stage, self._since, self._again_at = stage, now, None

    def _explain(self, event: Refused | Disconnected, now: float) -> None:
        self._explained = True
        self.announcements.say_seldom(event, now)
