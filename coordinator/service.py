"""The coordinator as a process: performs its run's effects over ZeroMQ and writes down what
happened. Never loads torch.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from coordinator import status
from coordinator.run import Run
from coordinator.store import Progress, Recorder, Store
from federation import codec, model, protections
from federation import config as federation_config
from federation import keys as federation_keys
from federation import roster as federation_roster
from federation.coding import Coding
from federation.effects import Applied, Effect, Finished, Recorded, Send
from federation.errors import ConfigError, MalformedMessage, Reason
from federation.limits import from_coordinator, from_hospital, vector_bytes
from federation.messages import Aggregate, Message, Rejected, Update
from federation.transport.link import (
    Connected,
    CoordinatorLink,
    CurveKeys,
    Disconnected,
    Malformed,
    Received,
    Refused,
)

Tell = Callable[[str], None]
Tap = Callable[[str, bytes, Sequence[Any]], None]
STATUS_S = 0.25
GOODBYE_S = 5.0
AT_ANY_TIME = ("late", "malformed", "refusal", "joined", "turned", "disconnected")
"""Events that a hospital can cause as often as it likes; all others are bounded by the rounds."""


class Coordinator:
    """`serve` returns 0 when the run is over or was stopped; the folder is valid either way, and a
    later start goes on from it.
    """

    def __init__(
        self,
        config_path: Path,
        out: Path,
        secret: Path | None = None,
        bind: str = "",
        record: bool = False,
        run: bytes | None = None,
        tell: Tell = print,
        tap: Tap | None = None,
    ) -> None:
        self.config = federation_config.read(config_path)
        self.roster = federation_roster.read(config_path.parent / "roster.toml")
        if len(self.roster) < self.config.federation.cohort:
            raise ConfigError(
                f"{config_path.parent / 'roster.toml'}: has {len(self.roster)} hospitals,"
                f" federation.cohort asks for {self.config.federation.cohort}; add hospitals with"
                " `flop roster add`"
            )
        secrets = federation_keys.read_secret(
            secret or config_path.parent / f"{self.roster.coordinator.id}.secret"
        )
        if secrets.transport_public != self.roster.coordinator.transport:
            raise ConfigError(
                f"{config_path.parent / 'roster.toml'}: holds another coordinator's keys than this"
                " secret's"
            )
        self.tell, self.began = tell, time.monotonic()
        self.store = Store(out, self.config)
        self.recorder = Recorder(out) if record else None
        start = model.read_start(config_path.parent / self.config.model.start, self.config)
        self.layout = start.layout
        hidden = protections.get(self.config.protection.kind).hidden
        self.progress: Progress = self.store.resume(run)
        self.model = None if hidden else self.store.read_model(start, self.progress.applied)
        self.before: model.SharedModel | None = None
        self.store.write(self.progress)
        self.coding = Coding.of(self.config, self.layout)
        self.run = Run(
            self.config,
            self.roster,
            self.layout,
            self.progress.run,
            self.progress.last_begun,
            self.progress.applied,
            self.progress.completed,
            time.monotonic(),
        )
        self.ids = [party.id for party in self.roster.hospitals]
        self.link = CoordinatorLink(
            bind or self.roster.coordinator.address,
            CurveKeys(*secrets.transport_pair),
            lambda key: self.roster.number_of(key) is not None,
            self._limit,
            tap,
        )
        self.bytes = {"up": 0, "down": 0}
        self.seconds = {"rounds": 0.0, "aggregate": 0.0}
        self.accuracy: float | None = None
        self.finished: Finished | None = None
        self.stopping = False
        self._status_at = 0.0

    def _limit(self, peer: bytes) -> int:
        who = self.roster.number_of(peer)
        allowed = 0 if who is None else self.run.buffers_allowed(who)
        return from_hospital(self.config, self.layout, len(self.roster), allowed).total + 65_536

    # ---- the loop --------------------------------------------------------------------

    def serve(self, watch: Callable[[dict[str, Any]], None] | None = None) -> int:
        """Serve until the run is over; `watch` is given a snapshot a few times a second."""
        self.tell(f"listening at {self.link.address}, roster {self.roster.fingerprint}")
        try:
            while self.finished is None:
                for event in self.link.poll(0.1):
                    self._event(event)
                now = time.monotonic()
                self._perform(self.run.tick(now))
                if self.stopping and self.finished is None:
                    self.tell("stopping")
                    self._perform(self.run.stop(Reason.STOPPED, now))
                self._show(now, watch)
        finally:
            self._show(time.monotonic() + STATUS_S, watch)
            self._summarise()
            self.link.close(GOODBYE_S)
        return 0

    def stop(self) -> None:
        """From a signal handler or another thread: end the run. Asked twice, the process ends at
        once.
        """
        if self.stopping:
            os._exit(130)
        self.stopping = True

    def _show(self, now: float, watch: Callable[[dict[str, Any]], None] | None) -> None:
        if now < self._status_at:
            return
        self._status_at = now + STATUS_S
        shot = status.snapshot(self.run, self.ids, now - self.began, self.accuracy)
        self.store.write_status(shot)
        if watch is not None:
            watch(shot)

    def _event(self, event: object) -> None:
        now = time.monotonic()
        match event:
            case Received(peer=peer, frames=frames):
                who = self.roster.number_of(peer)
                if who is not None:
                    self._received(who, frames, now)
            case Disconnected(peer=peer, reason=reason):
                who = self.roster.number_of(peer)
                if who is not None:
                    self._perform(self.run.disconnected(who, reason, now))
            case Malformed(peer=peer, reason=reason):
                who = self.roster.number_of(peer)
                if who is not None:
                    self._perform(self.run.malformed(who, reason, now))
            case Refused(peer=peer, reason=reason):
                if self.store.add(
                    {"event": "refused", "text": reason},
                    peer if isinstance(peer, str) else peer.hex(),
                ):
                    self.tell(reason)
            case Connected():
                pass

    def _received(self, who: int, frames: Sequence[Any], now: float) -> None:
        limits = from_hospital(
            self.config, self.layout, len(self.roster), self.run.buffers_allowed(who)
        )
        try:
            message = codec.decode(frames, limits)
        except MalformedMessage as error:
            if error.reason == Reason.VERSION:
                self._send(Rejected(code=Reason.VERSION), who)
            self._perform(self.run.malformed(who, str(error), now))
            return
        if isinstance(message, Update):
            self.bytes["up"] += sum(len(frame) for frame in frames)
            if self.recorder is not None:
                self.recorder.update(self.ids[who], message)
        started = time.monotonic()
        effects = self.run.receive(who, message, now)
        self.seconds["aggregate"] += time.monotonic() - started
        self._perform(effects)

    # ---- effects ---------------------------------------------------------------------

    def _perform(self, effects: list[Effect]) -> None:
        for effect in effects:
            match effect:
                case Send(message=message, to=who) if who is not None:
                    self._send(message, who)
                case Recorded(what=what, facts=facts):
                    self._record(what, facts)
                case Applied(round=round_, total=total):
                    if self.model is not None and total is not None:
                        self.before = replace(self.model)
                        self.model.apply(total, self.coding, self.config, round_)
                        self.model.save(self.store.folder / "shared.safetensors")
                    if total is not None:
                        self.store.add(
                            {
                                "event": "sum",
                                "round": round_,
                                "examples": total.examples,
                                "clipped": total.clipped,
                            }
                        )
                    self.progress.applied, self.progress.completed = round_, self.run.completed
                    self.store.write(self.progress)
                case Finished():
                    self.finished = effect
                    rounds, why = (
                        self.config.federation.rounds,
                        (f" ({effect.code})" if effect.code else ""),
                    )
                    self.tell(
                        f"the run is over: {effect.completed} of {rounds} rounds succeeded{why}"
                    )

    def _send(self, message: Message, who: int) -> None:
        frames = codec.encode(message)
        if isinstance(message, Aggregate):
            self.bytes["down"] += sum(len(frame) for frame in frames)
            if self.recorder is not None:
                self.recorder.aggregate(message)
        self.link.send(self.roster.transport_of(who), frames)

    def _record(self, what: str, facts: dict[str, Any]) -> None:
        by = self.ids[facts["hospital"]] if what in AT_ANY_TIME else ""
        if not self.store.add({"event": what, **status.named(facts, self.ids)}, by):
            return
        match what:
            case "begin":
                self.progress.last_begun = facts["round"]
                self.store.write(self.progress)
                if self.recorder is not None:
                    self.recorder.begin(facts["round"], self.model, self._observed(facts["round"]))
            case "joined":
                self.tell(f"{self.ids[facts['hospital']]} has joined")
            case "reported":
                scores = list(facts["accuracy"].values())
                self.accuracy = sum(scores) / len(scores) if scores else None
                shown = (
                    ""
                    if self.accuracy is None
                    else f", mean local test {100 * self.accuracy:.1f} %"
                )
                self.tell(
                    f"round {facts['round']} of {self.config.federation.rounds} is done{shown}"
                )
            case "lost" | "fault" | "malformed" | "turned" | "disconnected":
                self.tell(
                    f"{self.ids[facts['hospital']]}: {facts.get('text') or facts.get('code')}"
                )
            case "aborted":
                self.tell(f"round {facts['round']} was aborted: {facts['text']}")
            case "discarded":
                self.tell(f"round {facts['round']}: every hospital refused the sum")
                self._take_back()

    def _take_back(self) -> None:
        """No hospital applied the last sum, so this copy of the model must not have it either."""
        if self.model is not None and self.before is not None:
            self.model, self.before = self.before, None
            self.model.save(self.store.folder / "shared.safetensors")
        self.progress.applied, self.progress.completed = self.run.applied, self.run.completed
        self.store.write(self.progress)

    def _observed(self, round_: int) -> dict[str, Any]:
        plan = self.run.round.plan if self.run.round else None
        return {
            "round": round_,
            "run": self.run.run.hex(),
            "cohort": [self.ids[who] for who in plan.cohort] if plan else [],
            "config": "config.toml",
        }

    def _summarise(self) -> None:
        coding, hospitals = self.coding, max(1, self.run.completed) * self.config.federation.cohort
        up, down = vector_bytes(self.config, self.layout)
        plain = 4 * coding.values
        self.store.write_summary(
            {
                "run": self.run.run.hex(),
                "protection": self.config.protection.kind,
                "rounds_completed": self.run.completed,
                "finished": self.finished is not None and not self.finished.code,
                "stopped": self.finished.code if self.finished else "",
                "mean_shared_accuracy": self.accuracy,
                "bytes": {
                    "upload_per_hospital_per_round": (
                        round(self.bytes["up"] / hospitals) if self.bytes["up"] else up
                    ),
                    "download_per_hospital_per_round": down,
                    "plain_float32": plain,
                    "expansion": up / plain if plain else None,
                },
                "seconds": {
                    "total": time.monotonic() - self.began,
                    "aggregate": self.seconds["aggregate"],
                },
                "limits": {
                    "body_from_coordinator": (
                        from_coordinator(self.config, self.layout, len(self.roster)).body
                    )
                },
            }
        )
