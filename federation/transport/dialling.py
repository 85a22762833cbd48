"""A hospital's side of its connection, and sentences that say why there is none. No I/O."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from enum import Enum, auto

from federation.transport.address import Diagnosis
from federation.transport.contacts import SILENCE_S, Contacts, Route
from federation.transport.events import Connected, Denied, Disconnected, Violation
from federation.transport.packets import (
    CLOSED_REMOVED,
    CLOSED_REPLACED,
    CLOSED_VERSION,
    OPEN,
    OPENED,
    Buffer,
    MalformedPacket,
    Signal,
    decode,
)

OPEN_S = 5.0  # without an answer: send OPEN again
DOWN_S = 2.0  # a coordinator that starts a moment later is not worth a report
REDIAL_S = 3.0  # libzmq stops dialling after a refused handshake; we dial again after this


class Stage(Enum):
    """How far a hospital's connection has come."""

    DOWN = auto()
    REACHED = auto()  # TCP is established
    SECURE = auto()  # both keys are proved
    OPENED = auto()  # the coordinator answered OPENED
    CLOSED = auto()  # the coordinator sent CLOSED


class Dialling(Contacts):
    """A hospital's side of its only connection.

    libzmq does not say why there is no connection. This class turns what its monitor reports into
    sentences for the operator.
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
        self._again_at: float | None = None  # when to send OPEN, or to dial, again
        self._explained = False  # the operator knows why the last attempt failed
        self._farewells = {
            CLOSED_REPLACED: (
                "another process uses this hospital's key and has taken its place: stop one of"
                " the two"
            ),
            CLOSED_REMOVED: (
                "the coordinator has taken this hospital out of its roster: ask its operator"
            ),
            CLOSED_VERSION: (
                "the coordinator runs another version of this program: install the same release on"
                " both sides"
            ),
        }

    def routes(self) -> list[tuple[bytes, Route]]:
        return [(self._peer, ())] if self._stage is Stage.OPENED else []

    def connected(self, now: float) -> None:
        """Note that the TCP connection is established."""
        self._enter(Stage.REACHED, now)
        self._explained = False

    def secured(self, now: float) -> None:
        """Note that the handshake succeeded."""
        self._enter(Stage.SECURE, now)
        self._again_at = now

    def not_admitted(self, now: float) -> None:
        """Report that the coordinator does not admit this hospital's key."""
        what = (
            f"the coordinator at {self._where} does not admit this hospital, whose key is"
            f" {self._key.hex()}"
        )
        mend = (
            "send this hospital's .pub file to its operator, who admits it with `flop roster add`"
        )
        self._explain(Denied(self._peer, f"{what}: {mend}"), now)

    def not_recognised(self, silent: bool, now: float) -> None:
        """Report a handshake that was cut off, or never answered if `silent`."""
        if silent:
            why = (
                f"{self._where} accepts the connection but does not answer: the coordinator hangs,"
                " or it is another program"
            )
        else:
            wrong = f"it is not the coordinator with the key {self._peer.hex()}"
            why = (
                f"{self._where} hung up during the handshake: {wrong}; compare fingerprints with"
                " its operator"
            )
        self._explain(Denied(self._endpoint, why), now)

    def hung_up(self, now: float) -> None:
        """Note that the TCP connection is gone.

        After a refused handshake libzmq does not dial again, so `tick` may have to.
        """
        if self._stage in (Stage.SECURE, Stage.OPENED):
            self.announcements.say(
                Disconnected(self._peer, f"the connection to {self._where} is lost; trying again")
            )
        elif self._stage is Stage.REACHED and not self._explained:
            self._explain(
                Denied(
                    self._endpoint,
                    f"the program that listens at {self._where} is not this federation's"
                    " coordinator",
                ),
                now,
            )
        self._enter(Stage.DOWN, now)
        self.signals.clear()
        self._again_at = now + REDIAL_S

    def redials(self, now: float) -> bool:
        """Note that libzmq dials again. Returns True if it is time to look for the reason."""
        if self._stage is Stage.DOWN:
            self._again_at = None
        return self._stage is Stage.DOWN and now - self._since > DOWN_S

    def diagnosed(self, diagnosis: Diagnosis, now: float) -> None:
        """Report why there is no connection."""
        if self._stage is Stage.DOWN and diagnosis.reason is not None:
            self._explain(Disconnected(self._peer, f"{diagnosis.reason} (trying again)"), now)

    def tick(self, now: float) -> bool:
        """Send OPEN or report silence when it is time. Returns True if the link must dial again."""
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
        if due and self._stage in (Stage.SECURE, Stage.CLOSED):
            self.signals[self._peer, ()] = OPEN
            self._again_at = now + OPEN_S
        elif due:
            self._again_at = None
            return self._stage is Stage.DOWN
        return False

    def receive(self, frames: Sequence[Buffer], now: float) -> None:
        """Take a packet of the coordinator, whose key the handshake has proved."""
        self.heard[self._peer] = now
        try:
            packet = decode(frames)
            if packet == OPENED:
                if self._stage in (Stage.SECURE, Stage.CLOSED):
                    self._enter(Stage.OPENED, now)
                    self.conversation(self._peer).reconnected()
                    self.announcements.say(Connected(self._peer))
            elif isinstance(packet, Signal) and packet in self._farewells:
                self._enter(Stage.CLOSED, now)
                self._again_at = None if packet == CLOSED_REPLACED else now + 2 * OPEN_S
                self.announcements.say_seldom(Denied(self._peer, self._farewells[packet]), now)
            else:
                self._converse(self._peer, packet)
        except MalformedPacket as error:
            self.announcements.say_seldom(Violation(self._peer, str(error)), now, every_s=1.0)

    def _enter(self, stage: Stage, now: float) -> None:
        self._stage, self._since, self._again_at = stage, now, None

    def _explain(self, event: Denied | Disconnected, now: float) -> None:
        self._explained = True
        self.announcements.say_seldom(event, now)
