"""Before a round: everybody that is there comes to hold one group key and to stand at one model,
whoever fails on the way.

One hospital makes the key; the others get it, sealed, from one that holds it, and the model with it
where they stand elsewhere. The coordinator only says who asks whom. It believes the largest group
that says the same; who serves nobody, or answers nothing for longer than `patience`, is left aside
until it is heard again.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from federation.cohort import cohort
from federation.effects import Effect, Send
from federation.messages import StateAnswer, StateRequest, Synchronise, Synchronised
from federation.types import Digest, KeyIdentifier


@dataclass
class Peer:
    """What the coordinator knows of one hospital."""

    session: bytes = b""
    connected: bool = False
    applied: int = -1
    epoch: int = -1
    group_key: KeyIdentifier | None = None
    model: Digest | None = None
    code: str = ""
    accuracy: float | None = None
    clipped: int | None = None
    late: int = 0
    """How often in a row it did not answer in time when it was told to synchronise: after the
    second time it is not waited for.
    """
    doubted: bool = False
    """It made a round fail: no round begins with it while others are enough, until its process is
    started again.
    """


@dataclass
class _Asked:
    """A hospital was told to ask `source`; `requested` once it has, until the answer has passed.
    `requests`: how many have passed.
    """

    source: int
    since: float
    requested: bool = False
    requests: int = 0


REQUESTS = 2
"""Of one hospital to one source, for the key and then for the model, count as progress. More pass,
and its time runs out.
"""

RETURNS = 3
"""After coming back so often in one phase a hospital is not waited for: it may do so for ever."""


class Synchroniser:
    """`begin` a phase, then `step`; `ready` are those that hold the key and stand where they
    should, `waiting` whether to wait.
    """

    def __init__(self, run: bytes, peers: Sequence[Peer], patience: float, transfer: float) -> None:
        """Seconds: `patience` for an answer, and `transfer` besides for one sealed state to pass a
        slow line.
        """
        self.run, self.peers, self.patience, self.transfer = run, peers, patience, transfer
        self._owed: Counter[tuple[int, int]] = Counter()
        """(asker, source): sealed states that may still come, whatever has become of the asker."""
        self.begin(0, 0)

    def begin(self, epoch: int, applied: int) -> None:
        """All are to hold the key of `epoch` and to stand at round `applied`. Nobody has been asked
        yet.
        """
        self.epoch, self.applied = epoch, applied
        self.maker: int | None = None
        self.maker_since = 0.0
        self._passed_over: set[int] = set()
        self._failed: dict[int, set[int]] = {}
        self._returned: Counter[int] = Counter()
        self._ask_again()

    def _ask_again(self) -> None:
        self._asked: dict[int, _Asked] = {}
        self._answered: set[int] = set()

    # ---- what hospitals say ----------------------------------------------------------

    def synchronised(self, who: int, message: Synchronised) -> None:
        """Counts only where it was asked for: nobody puts a key or a model forward by itself."""
        if who in self._asked or who == self.maker:
            peer = self.peers[who]
            peer.epoch, peer.applied, peer.group_key, peer.model = (
                message.epoch,
                message.applied,
                message.group_key,
                message.model,
            )
            peer.late = 0
            self._answered.add(who)

    def relays(self, message: StateRequest | StateAnswer, now: float) -> bool:
        """Whether this request or answer passes: it is what its asker was told to ask, or waits
        for. Nobody is sent another's.
        """
        asked, request = self._asked.get(message.asker), isinstance(message, StateRequest)
        pair = message.asker, message.source
        if not request and self._owed[pair]:
            self._owed[pair] -= 1
        if (
            asked is None
            or asked.source != message.source
            or asked.requested == request
            or message.epoch != self.epoch
        ):
            return False
        if request:
            asked.requests += 1
            self._owed[pair] += 1
        asked.requested = request
        if asked.requests <= REQUESTS:
            asked.since = now
        return True

    def refused(self, who: int) -> None:
        """Hospital `who` could not do as it was told: it asks another source, its own askers do
        too, the key gets another maker.
        """
        if who == self.maker and who not in self._answered:
            self._pass_over(who)
        for asker, asked in list(self._asked.items()):
            if asker == who or (asked.source == who and asked.requested):
                del self._asked[asker]
                self._failed.setdefault(asker, set()).add(asked.source)

    def forget(self, who: int) -> None:
        """Its process is a new one, or it is heard again: it is asked afresh, and who asked it asks
        somebody else.
        """
        self._returned[who] += 1
        self._asked = {
            asker: asked for asker, asked in self._asked.items() if who not in (asker, asked.source)
        }
        self._answered.discard(who)

    # ---- what follows ----------------------------------------------------------------

    @property
    def ready(self) -> list[int]:
        """The largest group that holds one key of this epoch and one model of this round; the
        maker's where two are as large.
        """
        groups: dict[tuple[KeyIdentifier | None, Digest | None], list[int]] = {}
        for who, peer in enumerate(self.peers):
            if peer.connected and (peer.epoch, peer.applied) == (self.epoch, self.applied):
                groups.setdefault((peer.group_key, peer.model), []).append(who)
        return max(
            groups.values(),
            key=lambda group: (len(group), self.maker in group, -group[0]),
            default=[],
        )

    @property
    def waiting(self) -> bool:
        return any(
            who not in self._answered
            and peer.connected
            and peer.late < 2
            and self._returned[who] < RETURNS
            for who, peer in ((who, self.peers[who]) for who in self._asked)
        )

    def asks(self, source: int) -> bool:
        """Whether this hospital was asked for its sealed state. It may send it although its asker
        is gone by now, and not be to blame.
        """
        return any(count and pair[1] == source for pair, count in self._owed.items())

    def step(self, now: float) -> list[Effect]:
        """Tell everybody who lacks the key or the model whom to ask; have a key made where nobody
        holds one.
        """
        self._leave_late(now)
        holders = self.ready
        if not holders:
            return self._ask_maker(now)
        stands = self.peers[holders[0]]
        effects: list[Effect] = []
        for who, peer in enumerate(self.peers):
            if not peer.connected or who in holders or who in self._asked or who in self._answered:
                continue
            source = next(
                (holder for holder in holders if holder not in self._failed.get(who, ())), None
            )
            if source is None:
                self._answered.add(who)  # nobody could serve it: the round begins without it
                continue
            self._asked[who] = _Asked(source, now)
            message = Synchronise(
                epoch=self.epoch,
                source=source,
                applied=self.applied,
                group_key=stands.group_key,
                model=stands.model,
            )
            effects.append(Send(message, who))
        return effects

    def doubt(self) -> bool:
        """More have failed to be served than hold the key: the holders are to blame, and somebody
        else makes a new key.
        """
        holders = self.ready
        unserved = [who for who in self._failed if self.peers[who].connected and who not in holders]
        if not holders or len(unserved) <= len(holders):
            return False
        for who in holders:
            self.peers[who].epoch = -1
            self._pass_over(who)
        self._ask_again()
        return True

    def _leave_late(self, now: float) -> None:
        for who, asked in self._asked.items():
            queue = (
                sum(other.source == asked.source for other in self._asked.values())
                if asked.requests
                else 0
            )
            if who in self._answered or now - asked.since <= self.patience + queue * self.transfer:
                continue
            late = asked.source if asked.requested else who
            self.peers[late].connected, self.peers[late].epoch = False, -1
            self.peers[late].late += 1
            if asked.requested:
                self._ask_again()
                return

    def _pass_over(self, who: int) -> None:
        self._passed_over.add(who)
        self.maker = None

    def _ask_maker(self, now: float) -> list[Effect]:
        if self.maker is not None:
            if self.peers[self.maker].connected and now - self.maker_since <= self.patience:
                return []
            self._pass_over(self.maker)
        able = [
            who
            for who, peer in enumerate(self.peers)
            if peer.connected and peer.applied == self.applied
        ]
        candidates = [who for who in able if who not in self._passed_over]
        if not candidates:
            if able and now - self.maker_since > self.patience:
                self._passed_over.clear()
                self.maker_since = now
            return []
        self.maker = candidates[cohort(self.epoch, 0, [str(who) for who in candidates], 1)[0]]
        self.maker_since = now
        return [
            Send(
                Synchronise(
                    epoch=self.epoch,
                    source=self.maker,
                    applied=self.applied,
                    group_key=None,
                    model=None,
                ),
                self.maker,
            )
        ]
