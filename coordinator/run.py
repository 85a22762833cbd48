"""A whole run from the coordinator's side, without I/O.

    joining → synchronising → round → reporting → synchronising → … → finished

It trusts no hospital to be there or to stand where the others do: that is what synchronising is
for. Hospitals check all of it again for themselves.
"""

from __future__ import annotations

from enum import StrEnum

import msgspec

from coordinator.round import SLOWEST_LINK, Round
from coordinator.synchronise import Peer, Synchroniser
from federation import protections
from federation.config import FederationConfig
from federation.effects import Applied, Effect, Finished, Send
from federation.errors import LocalProtocolError, Reason
from federation.groupkey import asked_by, sealable
from federation.layout import Layout
from federation.limits import state_bytes, vector_bytes
from federation.messages import (
    Finish,
    Hello,
    Message,
    Refusal,
    Rejected,
    RoundReport,
    StateAnswer,
    StateRequest,
    Synchronised,
    Welcome,
)
from federation.plan import Plan
from federation.records.events import (
    HospitalDisconnected,
    HospitalJoined,
    HospitalRefused,
    HospitalRejected,
    LateMessage,
    RoundBegun,
    RoundDiscarded,
    RoundFailed,
    RoundReported,
    UnreadableMessage,
)
from federation.records.state import RunProgress
from federation.roster import Roster


class Phase(StrEnum):
    JOINING = "joining"
    SYNCHRONISING = "synchronising"
    ROUND = "round"
    REPORTING = "reporting"
    FINISHED = "finished"


class Run:
    """`receive`, `disconnected` and `tick` return effects; `progress` is what must be on disk
    before the effects' messages are sent.
    """

    def __init__(
        self,
        config: FederationConfig,
        roster: Roster,
        layout: Layout,
        progress: RunProgress,
        now: float = 0.0,
    ) -> None:
        self.config, self.roster, self.layout = config, roster, layout
        self.progress, self.run = progress, progress.run_id
        self.ids = [party.id for party in roster.hospitals]
        self.protection = protections.get(config.protection.kind)
        self.phase = Phase.JOINING
        self.peers = [Peer() for _ in roster.hospitals]
        self.since = now
        self.round: Round | None = None
        self.epoch = progress.last_begun + 1
        """The group key's: the first round that it serves. A restarted coordinator begins a new
        one.
        """
        self._reported: set[int] = set()
        self._refused: set[int] = set()
        self._before = 0
        """The round that all stood at before the last aggregate."""
        self._upload_bytes = vector_bytes(config, layout)[0]
        self.synchroniser = Synchroniser(
            self.run, self.peers, config.federation.patience, state_bytes(layout) / SLOWEST_LINK
        )

    # ---- what the service calls ------------------------------------------------------

    def receive(self, who: int, message: Message, now: float) -> list[Effect]:
        """A decoded message of hospital `who`, its authenticated number."""
        peer = self.peers[who]
        if isinstance(message, Hello):
            return self._hello(who, peer, message, now)
        if not peer.session:
            return []  # it has not been let in
        self._heard(who, peer)
        if isinstance(message, StateRequest | StateAnswer):
            return self._relay(who, message, now)
        if isinstance(message, Synchronised):
            return self._synchronised(who, peer, message, now)
        if isinstance(message, RoundReport):
            return self._reported_by(who, peer, message, now)
        if isinstance(message, Refusal):
            return self._refused_by(who, peer, message, now)
        if self.round is not None and getattr(message, "round", None) == self.round.plan.round:
            return [*self.round.receive(who, message, now), *self._advance(now)]
        return [LateMessage(self.ids[who], type(message).__name__)]

    def malformed(self, who: int, text: str, now: float) -> list[Effect]:
        """Hospital `who` sent what is not a message: it is out of the round, and the federation
        goes on.
        """
        self.peers[who].code = Reason.MALFORMED
        effects: list[Effect] = [UnreadableMessage(self.ids[who], text)]
        self.synchroniser.refused(who)
        if self.round is not None:
            effects += self.round.lose(who, Reason.MALFORMED, text, now)
        return [*effects, *self._advance(now)]

    def disconnected(self, who: int, text: str, now: float) -> list[Effect]:
        """The transport has given this hospital up for now. It stays in its round until its
        patience is over: it may come back.
        """
        return [HospitalDisconnected(self.ids[who], text)]

    def tick(self, now: float) -> list[Effect]:
        effects: list[Effect] = []
        if self.round is not None:
            effects = self.round.tick(now)
            # given up until they are heard again, which may be before this round is over
            for who in self.round.silent:
                self.peers[who].connected = False
            self.round.silent.clear()
        return [*effects, *self._advance(now)]

    def buffers_allowed(self, who: int) -> int:
        """Bytes of raw buffers that this hospital may send now."""
        upload = self._upload_bytes if self.round is not None and self.round.may_upload(who) else 0
        return max(upload, state_bytes(self.layout) if self.synchroniser.asks(who) else 0)

    def stop(self, code: str, now: float) -> list[Effect]:
        """End the run now."""
        if self.phase == Phase.FINISHED:
            return []
        self.phase, self.round = Phase.FINISHED, None
        finish = Finish(completed=self.completed, code=code or None)
        return [*self._to_all(finish), Finished(self.completed, code)]

    @property
    def last_begun(self) -> int:
        return self.progress.last_begun

    @property
    def applied(self) -> int:
        return self.progress.applied

    @property
    def completed(self) -> int:
        return self.progress.completed

    def _mark(self, **changed: int) -> None:
        self.progress = msgspec.structs.replace(self.progress, **changed)

    @property
    def reachable(self) -> frozenset[int]:
        return frozenset(who for who, peer in enumerate(self.peers) if peer.connected)

    # ---- joining and synchronising ---------------------------------------------------

    def _hello(self, who: int, peer: Peer, message: Hello, now: float) -> list[Effect]:
        for mine, theirs, code in (
            (self.config.digest, message.config, Reason.CONFIG),
            (self.roster.digest, message.roster, Reason.ROSTER),
        ):
            if mine != theirs:
                peer.code, peer.connected, peer.session = code, False, b""
                name = "federation.toml" if code == Reason.CONFIG else "roster.toml"
                text = f"its {name} is not the one that the coordinator has"
                return [
                    HospitalRejected(self.ids[who], str(code), text),
                    Send(Rejected(code=code), who),
                ]
        if message.run == self.run and message.applied > self.applied:
            return self.malformed(who, "claims a round that has not been", now)
        effects: list[Effect] = []
        if peer.session != message.session:
            if not peer.session and self.phase == Phase.JOINING:
                # others are on their way, too: who is here waits `patience` for the next one
                self.since = now
            if peer.session and self.round is not None:
                effects += self.round.lose(who, Reason.LOST, "was restarted", now)
            peer.session, peer.epoch, peer.group_key, peer.model, peer.code = (
                message.session,
                -1,
                None,
                None,
                "",
            )
            peer.applied = message.applied if message.run == self.run else 0
            peer.late, peer.doubted = 0, False
            self.synchroniser.forget(who)
            # a fresh process has no aggregate to report on: it will be synchronised before the next
            # round
            self._reported.add(who)
            effects.append(HospitalJoined(self.ids[who]))
        elif message.run == self.run:
            peer.applied = message.applied
        self._heard(who, peer)
        if self.phase == Phase.FINISHED:
            return [*effects, Send(Finish(completed=self.completed), who)]
        welcome = Welcome(run=self.run, rounds=self.config.federation.rounds)
        return [*effects, Send(welcome, who), *self._advance(now)]

    def _heard(self, who: int, peer: Peer) -> None:
        """A hospital that was given up is there again: it was not sent the last aggregate, so it
        has nothing to report on.
        """
        if not peer.connected:
            peer.connected = True
            self.synchroniser.forget(who)
            self._reported.add(who)

    def _relay(self, who: int, message: StateRequest | StateAnswer, now: float) -> list[Effect]:
        sender, receiver = (
            (message.asker, message.source)
            if isinstance(message, StateRequest)
            else (message.source, message.asker)
        )
        if who != sender or receiver >= len(self.peers) or receiver == who:
            return [UnreadableMessage(self.ids[who], "asked or answered in another's name")]
        if isinstance(message, StateRequest) and not asked_by(self.run, self.roster, message):
            return self.malformed(who, "did not sign its request for key and model", now)
        if isinstance(message, StateRequest) and not sealable(self.roster, message):
            return self.malformed(
                who, "asked for key and model with a key to which nothing can be sealed", now
            )
        if not self.synchroniser.relays(message, now):
            return [LateMessage(self.ids[who], type(message).__name__)]
        return [Send(message, receiver)]

    def _synchronised(
        self, who: int, peer: Peer, message: Synchronised, now: float
    ) -> list[Effect]:
        if message.applied > self.applied:
            return self.malformed(who, "claims a round that has not been", now)
        self.synchroniser.synchronised(who, message)
        return self._advance(now)

    def _needed(self) -> int:
        """With fewer hospitals than this no round can succeed."""
        return max(self.config.threshold, self.config.federation.min_cohort)

    def _plan(self, round_: int) -> Plan:
        return Plan(
            config=self.config, roster=self.roster, layout=self.layout, run=self.run, round=round_
        )

    def _synchronise(self, now: float) -> list[Effect]:
        """Bring all that are there to one key and one model; begin the round when all are served
        that can be.
        """
        if self.last_begun + 1 - self.epoch >= self.config.protection.key_rounds:
            self._replace_key()
        if (self.synchroniser.epoch, self.synchroniser.applied) != (self.epoch, self.applied):
            self.synchroniser.begin(self.epoch, self.applied)
        effects = self.synchroniser.step(now)
        ready = frozenset(self.synchroniser.ready)
        if self.synchroniser.waiting:
            return effects
        if not ready:
            return [*effects, *self._look_back(now)]
        plan, late = (
            self._plan(self.last_begun + 1),
            now - self.since > self.config.federation.patience,
        )
        trusted = frozenset(who for who in ready if not self.peers[who].doubted)
        for able in (trusted, ready):
            if len(able & set(plan.cohort)) >= self._needed():
                return [*effects, *self._begin(plan, able, now)]
        if self.synchroniser.doubt():
            self.since = now
        # enough are here, but they are not this round's
        elif len(ready) >= self._needed() and late:
            self._mark(last_begun=plan.round)
            self.since = now
            text = (
                f"{len(ready & set(plan.cohort))} of its cohort are connected, {self._needed()} are"
                " needed"
            )
            effects.append(RoundBegun(plan.round, tuple(self.ids[who] for who in plan.cohort)))
            effects.append(RoundFailed(plan.round, str(Reason.THRESHOLD), text))
        elif late:
            self._to_synchronise(now)  # whoever could not be served before is told again
        return effects

    def _look_back(self, now: float) -> list[Effect]:
        """Nobody that is known stands at the last round that gave an aggregate: it never reached
        anybody, so there was no such round.
        """
        stand = max(peer.applied for peer in self.peers)
        late = now - self.since > self.config.federation.patience
        known = len(self.reachable) == len(self.peers) or (
            len(self.reachable) >= self._needed() and late
        )
        return self._take_back(max(stand, 0)) if known and stand < self.applied else []

    def _take_back(self, stand: int) -> list[Effect]:
        refused = self.applied
        self._mark(applied=stand, completed=max(0, self.completed - 1))
        return [RoundDiscarded(refused)]

    def _replace_key(self) -> None:
        """The next round gets a new key: this one is old, or a hospital has refused a sum that it
        decrypted. At most once a round.
        """
        if self.epoch <= self.last_begun:
            self.epoch = self.last_begun + 1

    # ---- rounds ----------------------------------------------------------------------

    def _begin(self, plan: Plan, ready: frozenset[int], now: float) -> list[Effect]:
        self._mark(last_begun=plan.round)
        self.phase = Phase.ROUND
        self.round = Round(
            plan,
            self.protection,
            self.ids,
            patience=self.config.federation.patience,
            upload_bytes=self._upload_bytes,
        )
        return self.round.start(ready, now)

    def _end_round(self, ended: Round, now: float) -> list[Effect]:
        self.round = None
        aggregate = ended.aggregate
        if aggregate is None:
            for fault in ended.state.faults:
                if fault.reason == Reason.SHARE:
                    self.peers[fault.who].doubted = True
            return self._to_synchronise(now)
        self._before = self.applied
        self._mark(applied=ended.plan.round, completed=self.completed + 1)
        self.phase, self.since, self._refused = Phase.REPORTING, now, set()
        holders = [who for who in sorted(self.reachable) if self.peers[who].epoch == self.epoch]
        # they could not open it: they are synchronised before the next round
        self._reported = set(self.reachable) - set(holders)
        return [
            Applied(self.applied, ended.total),
            *(Send(aggregate, who) for who in holders),
        ]

    def _reported_by(self, who: int, peer: Peer, message: RoundReport, now: float) -> list[Effect]:
        if message.round > self.applied:
            return self.malformed(who, "reports a round that has not been", now)
        peer.applied, peer.model = message.round, message.model
        peer.accuracy, peer.clipped, peer.code = message.accuracy, message.clipped, ""
        self._reported.add(who)
        return self._advance(now)

    def _refused_by(self, who: int, peer: Peer, message: Refusal, now: float) -> list[Effect]:
        """A hospital could not do as it was told."""
        peer.code = message.code
        if self.protection.hidden and message.code == Reason.AGGREGATE:
            self._replace_key()
        if self.phase == Phase.REPORTING and message.round == self.applied:
            self._reported.add(who)  # it will be synchronised before the next round
            self._refused.add(who)
        elif self.phase == Phase.SYNCHRONISING:
            self.synchroniser.refused(who)
        effects: list[Effect] = [HospitalRefused(self.ids[who], message.round, message.code)]
        if self.round is not None and message.round == self.round.plan.round:
            effects += self.round.receive(who, message, now)
        return [*effects, *self._advance(now)]

    def _to_synchronise(self, now: float) -> list[Effect]:
        self.phase, self.since = Phase.SYNCHRONISING, now
        self.synchroniser.begin(self.epoch, self.applied)
        return []

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
                if len(self.reachable) == len(self.peers) or (
                    len(self.reachable) >= self._needed() and now - self.since > patience
                ):
                    return self._to_synchronise(now)
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
                    # who is silent may have
                    took = silent | {
                        who for who, peer in enumerate(self.peers) if peer.applied == self.applied
                    }
                    ended: list[Effect] = [RoundReported(self.applied, self._accuracies())]
                    # most would not have it: there is no such round
                    if len(self._refused) > len(took):
                        ended = self._take_back(self._before)
                    return [*ended, *self._to_synchronise(now)]
                return []
        return []

    def _accuracies(self) -> dict[str, float]:
        """Scores of those that share them."""
        return {
            self.ids[who]: peer.accuracy
            for who, peer in enumerate(self.peers)
            if peer.connected and peer.accuracy is not None
        }

    def _to_all(self, message: Message) -> list[Effect]:
        return [Send(message, who) for who in sorted(self.reachable)]
