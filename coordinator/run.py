"""A whole run from the coordinator's side, without I/O.

    joining → synchronising → round → reporting → synchronising → … → finished

It trusts no hospital to be there or to stand where the others do: that is what synchronising is for. Hospitals check all of it again for
themselves.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from coordinator.round import Round
from crypto.kdf import digest
from federation import protections
from federation.config import FederationConfig
from federation.effects import Applied, Effect, Finished, Recorded, Send
from federation.errors import LocalProtocolError, Reason
from federation.layout import Layout
from federation.limits import state_bytes, vector_bytes
from federation.messages import (
    Finish,
    Hello,
    Message,
    Refusal,
    RoundReport,
    StateGrant,
    StateRequest,
    Synchronise,
    Synchronised,
    Turned,
    Welcome,
)
from federation.plan import Plan
from federation.roster import Roster


class Phase(StrEnum):
    JOINING = "joining"
    SYNCHRONISING = "synchronising"
    ROUND = "round"
    REPORTING = "reporting"
    FINISHED = "finished"


@dataclass
class Peer:
    """What the coordinator knows of one hospital."""

    session: bytes = b""
    connected: bool = False
    applied: int = -1
    epoch: int = -1
    group_key: bytes = b""
    asked: float = 0.0
    """When it was last asked to synchronise; 0 if it was not."""
    code: str = ""
    accuracy: float = -1.0
    clipped: int = -1


class Run:
    """`receive`, `disconnected` and `tick` return effects. `run` is 16 bytes; `completed` rounds are behind, `round` was the last begun."""

    def __init__(
        self,
        config: FederationConfig,
        roster: Roster,
        layout: Layout,
        run: bytes,
        last_begun: int,
        applied: int,
        completed: int,
        now: float,
    ) -> None:
        self.config, self.roster, self.layout, self.run = config, roster, layout, run
        self.protection = protections.get(config.protection.kind)
        self.phase = Phase.JOINING
        self.peers = [Peer() for _ in roster.hospitals]
        self.last_begun, self.applied, self.completed = last_begun, applied, completed
        self.since = now
        self.round: Round | None = None
        self.maker: int | None = None
        self.epoch = last_begun + 1
        """The group key's: the first round that it serves. A restarted coordinator begins a new one."""
        self._reported: set[int] = set()
        self._upload_bytes = vector_bytes(config, layout)[0]

    # ---- what the service calls ------------------------------------------------------------------------------------

    def receive(self, who: int, message: Message, now: float) -> list[Effect]:
        """A decoded message of hospital `who`, its authenticated number."""
        peer = self.peers[who]
        if isinstance(message, Hello):
            return self._hello(who, peer, message, now)
        if not peer.session:
            return []  # it has not been let in
        self._heard(who, peer)
        if isinstance(message, StateRequest | StateGrant):
            return self._relay(who, message)
        if isinstance(message, Synchronised):
            return self._synchronised(who, peer, message, now)
        if isinstance(message, RoundReport):
            return self._reported_by(who, peer, message, now)
        if isinstance(message, Refusal):
            peer.code = message.code
            if self.protection.hidden and message.code == Reason.AGGREGATE:
                self._replace_key()
            if self.phase == Phase.REPORTING and message.round == self.applied:
                self._reported.add(who)  # it will be synchronised before the next round
        if self.round is not None and getattr(message, "round", None) == self.round.plan.round:
            return [*self.round.receive(who, message, now), *self._advance(now)]
        return [Recorded("late", {"hospital": who, "message": type(message).__name__})]

    def malformed(self, who: int, text: str, now: float) -> list[Effect]:
        """Hospital `who` sent what is not a message: it is out of the round, and the federation goes on."""
        self.peers[who].code = Reason.MALFORMED
        effects: list[Effect] = [Recorded("malformed", {"hospital": who, "text": text})]
        if self.round is not None:
            effects += self.round.lose(who, Reason.MALFORMED, text, now)
        return [*effects, *self._advance(now)]

    def disconnected(self, who: int, text: str, now: float) -> list[Effect]:
        """The transport has given this hospital up for now. It stays in its round until its patience is over: it may come back."""
        return [Recorded("disconnected", {"hospital": who, "text": text})]

    def tick(self, now: float) -> list[Effect]:
        effects = self.round.tick(now) if self.round is not None else []
        return [*effects, *self._advance(now)]

    def buffers_allowed(self, who: int) -> int:
        """Bytes of raw buffers that this hospital may send now."""
        if self.round is not None and self.round.may_upload(who):
            return self._upload_bytes
        return state_bytes(self.layout) if self._source(who) else 0

    def stop(self, code: str, now: float) -> list[Effect]:
        """End the run now."""
        if self.phase == Phase.FINISHED:
            return []
        self.phase, self.round = Phase.FINISHED, None
        finish = Finish(completed=self.completed, code=code)
        return [*self._to_all(finish), Finished(self.completed, code)]

    @property
    def reachable(self) -> frozenset[int]:
        return frozenset(who for who, peer in enumerate(self.peers) if peer.connected)

    # ---- joining and synchronising ---------------------------------------------------------------------------------

    def _hello(self, who: int, peer: Peer, message: Hello, now: float) -> list[Effect]:
        for mine, theirs, code in (
            (self.config.digest, message.config, Reason.CONFIG),
            (self.roster.digest, message.roster, Reason.ROSTER),
        ):
            if mine != theirs:
                peer.code, peer.connected, peer.session = code, False, b""
                return [Recorded("turned", {"hospital": who, "code": str(code)}), Send(Turned(code=code), who)]
        if message.run == self.run and message.applied > self.applied:
            return self.malformed(who, "claims a round that has not been", now)
        effects: list[Effect] = []
        if peer.session != message.session:
            if peer.session and self.round is not None:
                effects += self.round.lose(who, Reason.LOST, "was restarted", now)
            peer.session, peer.epoch, peer.group_key, peer.code = message.session, -1, b"", ""
            peer.applied = message.applied if message.run == self.run else 0
            peer.asked = 0.0
            self._reported.add(who)  # a fresh process has no aggregate to report on: it will be synchronised before the next round
            effects.append(Recorded("joined", {"hospital": who}))
        elif message.run == self.run:
            peer.applied = message.applied
        self._heard(who, peer)
        if self.phase == Phase.FINISHED:
            return [*effects, Send(Finish(completed=self.completed, code=""), who)]
        welcome = Welcome(run=self.run, next_round=self.last_begun + 1, rounds=self.config.federation.rounds)
        return [*effects, Send(welcome, who), *self._advance(now)]

    def _heard(self, who: int, peer: Peer) -> None:
        """A hospital that was given up is there again: it was not sent the last aggregate, so it has nothing to report on."""
        if not peer.connected:
            peer.connected, peer.asked = True, 0.0
            self._reported.add(who)

    def _relay(self, who: int, message: StateRequest | StateGrant) -> list[Effect]:
        sender, receiver = (message.asker, message.source) if isinstance(message, StateRequest) else (message.source, message.asker)
        if who != sender or receiver >= len(self.peers) or receiver == who:
            return [Recorded("malformed", {"hospital": who, "text": "asks or answers in another's name"})]
        return [Send(message, receiver)]

    def _synchronised(self, who: int, peer: Peer, message: Synchronised, now: float) -> list[Effect]:
        if message.applied > self.applied:
            return self.malformed(who, "claims a round that has not been", now)
        peer.epoch, peer.group_key, peer.asked = message.epoch, message.group_key, 0.0
        peer.applied = message.applied
        return self._advance(now)

    def _needed(self) -> int:
        """With fewer hospitals than this no round can succeed."""
        return max(self.config.threshold, self.config.federation.min_cohort)

    def _plan(self, round_: int) -> Plan:
        return Plan.of(self.config, self.roster, self.layout, self.run, round_)

    def _holders(self, epoch: int) -> list[int]:
        """Who holds this epoch's key, all the same one, and stands where all should."""
        target = self.applied
        hold = [w for w, p in enumerate(self.peers) if p.connected and p.epoch == epoch and p.applied == target]
        return [who for who in hold if self.peers[who].group_key == self.peers[hold[0]].group_key] if hold else []

    def _source(self, who: int) -> bool:
        """Whether somebody may be waiting for this hospital's sealed state."""
        return self.phase == Phase.SYNCHRONISING and self.peers[who].connected

    def _synchronise(self, now: float) -> list[Effect]:
        """Ask whoever lacks the key or the model; make a key first where nobody holds one. Begin the round when all are served."""
        if self.last_begun + 1 - self.epoch >= self.config.protection.key_rounds:
            self._replace_key()
        epoch, target = self.epoch, self.applied
        holders = self._holders(epoch)
        effects: list[Effect] = []
        if not holders:
            return self._ask_maker(epoch, target, now)
        source = self.peers[holders[0]]
        waiting = False
        for who, peer in enumerate(self.peers):
            if not peer.connected or who in holders:
                continue
            if not peer.asked:
                peer.asked = now
                effects.append(
                    Send(Synchronise(epoch=epoch, source=holders[0], applied=target, group_key=source.group_key), who)
                )
            waiting = waiting or now - peer.asked <= self.config.federation.patience
        ready = frozenset(holders)
        plan = self._plan(self.last_begun + 1)
        if waiting or len(ready & set(plan.cohort)) < self._needed():
            return effects
        return [*effects, *self._begin(plan, ready, now)]

    def _replace_key(self) -> None:
        """The next round gets a new key: this one is old, or a hospital has refused a sum that it decrypted. At most once a round."""
        if self.epoch <= self.last_begun:
            self.epoch, self.maker = self.last_begun + 1, None
            for peer in self.peers:
                peer.asked = 0.0

    def _ask_maker(self, epoch: int, target: int, now: float) -> list[Effect]:
        if self.maker is not None and self.peers[self.maker].connected and now - self.since <= self.config.federation.patience:
            return []
        candidates = [who for who, peer in enumerate(self.peers) if peer.connected and peer.applied == target and who != self.maker]
        if not candidates:
            self.maker = None
            return []
        self.maker = min(candidates, key=lambda who: digest("key-maker", self.run, epoch, who))
        self.since = now
        return [Send(Synchronise(epoch=epoch, source=self.maker, applied=target, group_key=b""), self.maker)]

    # ---- rounds ----------------------------------------------------------------------------------------------------

    def _begin(self, plan: Plan, ready: frozenset[int], now: float) -> list[Effect]:
        self.last_begun, self.maker = plan.round, None
        self.phase = Phase.ROUND
        self.round = Round(plan, self.protection, self.config.federation.patience, self._upload_bytes)
        return [Recorded("begin", {"round": plan.round}), *self.round.start(ready, now)]

    def _end_round(self, ended: Round, now: float) -> list[Effect]:
        self.round = None
        aggregate = ended.aggregate
        for who, code in ended.gone.items():
            if code == Reason.LOST:
                self.peers[who].connected = False  # until it is heard again
        for peer in self.peers:
            peer.asked = 0.0
        if aggregate is None:
            self.phase, self.since = Phase.SYNCHRONISING, now
            return []
        self.completed += 1
        self.applied = ended.plan.round
        self.phase, self.since, self._reported = Phase.REPORTING, now, set()
        return [Applied(self.applied, counted=True, total=ended.total), *self._to_all(aggregate)]

    def _reported_by(self, who: int, peer: Peer, message: RoundReport, now: float) -> list[Effect]:
        if message.round > self.applied:
            return self.malformed(who, "reports a round that has not been", now)
        peer.applied, peer.accuracy, peer.clipped, peer.code = message.round, message.accuracy, message.clipped, ""
        self._reported.add(who)
        return self._advance(now)

    def _advance(self, now: float) -> list[Effect]:
        """Go on while nothing is waited for."""
        effects: list[Effect] = []
        while True:
            before = (self.phase, self.round)
            effects += self._move(now)
            if (self.phase, self.round) == before:
                return effects

    def _move(self, now: float) -> list[Effect]:
        patience = self.config.federation.patience
        match self.phase:
            case Phase.JOINING:
                if len(self.reachable) == len(self.peers) or (len(self.reachable) >= self._needed() and now - self.since > patience):
                    self.phase, self.since = Phase.SYNCHRONISING, now
                return []
            case Phase.SYNCHRONISING:
                if self.last_begun >= self.config.federation.rounds:
                    return self.stop("", now)
                return self._synchronise(now)
            case Phase.ROUND:
                if self.round is None:
                    raise LocalProtocolError("no round in the phase of rounds")
                return self._end_round(self.round, now) if self.round.over else []
            case Phase.REPORTING:
                silent = self.reachable - self._reported
                if not silent or now - self.since > patience:
                    for who in silent:
                        self.peers[who].connected = False
                    self.phase, self.since, self.maker = Phase.SYNCHRONISING, now, None
                    stand = max(0, *(peer.applied for peer in self.peers))
                    if stand < self.applied and not silent:  # nobody took it: there is no such round, and nobody to wait for
                        refused, self.applied, self.completed = self.applied, stand, self.completed - 1
                        return [Recorded("discarded", {"round": refused})]
                    return [Recorded("reported", {"round": self.applied, "accuracy": self._accuracies()})]
                return []
        return []

    def _accuracies(self) -> dict[int, float]:
        """Scores of those that share them."""
        return {who: peer.accuracy for who, peer in enumerate(self.peers) if peer.connected and peer.accuracy >= 0}

    def _to_all(self, message: Message) -> list[Effect]:
        return [Send(message, who) for who in sorted(self.reachable)]
