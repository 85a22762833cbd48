"""A lying coordinator and a faulty hospital, as scripts over the real sessions.

`Rewrite` sits on the wire of a whole federation and changes what passes. `LyingCoordinator` has the
sessions' lines in its hand: it can follow the protocol, phase by phase, and leave it at any point.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import msgspec
import numpy as np

from crypto import signing
from crypto.kdf import derive
from federation import protections
from federation.coding import Coding, Contribution
from federation.effects import Adopt, Discard, Effect, Note, Send, Train
from federation.messages import (
    Grant,
    Message,
    Refusal,
    StartRound,
    StateRequest,
    Synchronise,
    Synchronised,
    Update,
    Welcome,
)
from federation.model import SharedModel
from federation.plan import Plan
from federation.protections.checks import survivors_parts
from tests.rig import RUN, Rig, config, counts_of, default_update, start_model

Change = Callable[[Any], Any]


class Rewrite:
    """A fault: changes messages of one type that pass one hospital's line (any hospital's if `only`
    is None) in one round (0: in all).

    `change` gives the message that passes instead, a list of them, or None for none. `seen` is all
    that passed, as it arrived.
    """

    def __init__(
        self, kind: type[Message], change: Change, only: int | None = None, round_: int = 0
    ) -> None:
        self.kind, self.change, self.only, self.round = kind, change, only, round_
        self.seen: list[tuple[int, str, Message]] = []
        self.changed = 0

    def __call__(
        self, who: int, direction: str, message: Message, now: float
    ) -> Iterable[tuple[float, Message]]:
        here = isinstance(message, self.kind) and self.only in (None, who)
        if here and self.round in (0, getattr(message, "round", 0)):
            self.changed += 1
            passes = self.change(message)
            arriving = passes if isinstance(passes, list) else [] if passes is None else [passes]
        else:
            arriving = [message]
        self.seen += [(who, direction, one) for one in arriving]
        return [(0.0, one) for one in arriving]

    def passed(self, kind: type[Message], round_: int = 0) -> dict[int, Any]:
        """By hospital, the last message of this type that passed (in this round)."""
        return {
            who: m
            for who, _, m in self.seen
            if isinstance(m, kind) and round_ in (0, getattr(m, "round", 0))
        }


def put(**fields: Any) -> Change:
    """A change: other values in these fields."""
    return lambda message: msgspec.structs.replace(message, **fields)


def contribution(rig: Rig, who: int, round_: int, clips: np.ndarray) -> Contribution:
    """What this hospital's stand-in contributes, as only itself and this test can know it."""
    key = derive(rig.secrets[who].own_secret, "rounding", RUN, round_)
    counts = tuple(int(n) for n in counts_of(who).flat)
    return Contribution(default_update(who, round_), 10 + who, 2, counts, clips, key)


def integers(rig: Rig, who: int, round_: int, clips: np.ndarray) -> np.ndarray:
    """Its coded vector in the clear, int64."""
    return (
        Coding.of(rig.config, rig.layout)
        .integers(contribution(rig, who, round_, clips))[0]
        .astype(np.int64)
    )


class LyingCoordinator:
    """Leads sessions by hand. `say` and `tell` give the hospitals' answers; the phases are honest
    as long as nothing else is passed in.
    """

    def __init__(self, rig: Rig) -> None:
        self.rig, self.sessions = rig, dict(rig.sessions)
        self.protection = protections.get(rig.config.protection.kind)
        self.notes: dict[int, list[str]] = {who: [] for who in self.sessions}
        self.refusals: dict[int, list[str]] = {who: [] for who in self.sessions}
        self.effects: dict[int, list[Effect]] = {who: [] for who in self.sessions}
        self.round = 0
        self.uploaded: dict[int, Update] = {}
        self.known: Any = None
        """What the coordinator remembers of a masked round: adverts, dealt shares, context,
        transcript.
        """
        self.agree(1)

    # ---- the line --------------------------------------------------------------------

    def say(self, who: int, message: Message) -> list[Any]:
        """One message to one hospital, and what it sends back (refusals apart)."""
        return self._heard(who, self.sessions[who].receive(message))

    def _heard(self, who: int, effects: list[Effect]) -> list[Any]:
        answers: list[Any] = []
        for effect in effects:
            self.effects[who].append(effect)
            match effect:
                case Send(message=Refusal(code=code)):
                    self.refusals[who].append(str(code))
                case Send(message=message):
                    answers.append(message)
                case Note(text=text):
                    self.notes[who].append(text)
                case Train(round=round_):
                    done = self.rig.stands[who].done(round_)
                    answers += self._heard(
                        who, self.sessions[who].trained(round_, done, counts_of(who))
                    )
                case Adopt(shared=shared):
                    answers += self._heard(who, self.sessions[who].report(shared.round, 0.5))
        return answers

    def tell(self, messages: Mapping[int, Message]) -> dict[int, Any]:
        """Messages to several hospitals, and the one answer of each that gave one."""
        answers = {who: self.say(who, message) for who, message in messages.items()}
        return {who: answer[0] for who, answer in answers.items() if answer}

    def restart(self, who: int) -> None:
        """This hospital's process is another one, with what its disk remembers."""
        old = self.sessions[who]
        self.sessions[who] = self.rig.session(who, old.durable, old.shared)

    # ---- an honest coordinator's steps -----------------------------------------------

    def agree(self, epoch: int, maker: int = 0, among: Iterable[int] | None = None) -> None:
        """All hold one group key."""
        self.applied = max(session.shared.round for session in self.sessions.values())
        for who in self.sessions:
            self.say(who, Welcome(run=RUN, rounds=9))
        (made,) = self.say(
            maker, Synchronise(epoch=epoch, source=maker, applied=self.applied, group_key=None)
        )
        for who in sorted(among if among is not None else set(self.sessions)):
            ask = Synchronise(
                epoch=epoch,
                source=maker,
                applied=self.applied,
                group_key=made.group_key,
                model=made.model,
            )
            (answer,) = self.say(who, ask)
            while isinstance(answer, StateRequest):
                (grant,) = self.say(maker, answer)
                (answer,) = self.say(who, grant)
            assert isinstance(answer, Synchronised)

    def plan(self, round_: int) -> Plan:
        return self.rig.plan(round_)

    def advertise(self, round_: int, dead: Iterable[int] = ()) -> dict[int, Any]:
        """StartRound; the advertisements are in `self.state`, of all but the dead."""
        self.round, self.state = round_, self.protection.open_round(self.plan(round_))
        start = StartRound(round=round_, cohort=self.plan(round_).cohort)
        return self.gather(
            self.tell({who: start for who in self.plan(round_).cohort if who not in set(dead)})
        )

    def gather(self, answers: Mapping[int, Any]) -> dict[int, Any]:
        """The honest coordinator takes these answers."""
        for who, answer in answers.items():
            self.state.accept(who, answer)
            if isinstance(answer, Update):
                self.uploaded[who] = answer
        return dict(answers)

    def close(self) -> dict[int, Message]:
        """The honest coordinator's next phase: what it would send to whom. The last one gives the
        aggregate to all.
        """
        following, messages = self.state.close()
        if hasattr(following, "aggregate"):
            self.aggregate = following.aggregate
            return {who: following.aggregate for who in self.sessions}
        self.state = following
        self.known = getattr(following, "known", self.known)
        return dict(messages)

    def up_to(
        self, phase: str, round_: int = 1, dead: Mapping[str, Iterable[int]] | None = None
    ) -> dict[int, Message]:
        """Honest until `phase`: what is to be sent to begin it. `dead`: who is not reached any more
        from which phase on.
        """
        gone: set[int] = set()
        lost = {name: set(who) for name, who in (dead or {}).items()}
        gone |= lost.get("advertise_keys", set())
        self.advertise(round_, gone)
        for name in ("share_keys", "masked_update", "consistency", "unmask", "aggregate"):
            messages = self.close()
            if name == phase:
                return messages
            gone |= lost.get(name, set())
            answers = self.tell(
                {who: message for who, message in messages.items() if who not in gone}
            )
            if name == "masked_update":
                grant = Grant(round=round_)
                answers = self.tell({who: grant for who in messages if who not in gone})
            self.gather(answers)
        raise ValueError(phase)

    def finish(self, messages: Mapping[int, Message]) -> None:
        """Everybody gets what is to be sent last."""
        self.tell(messages)

    # ---- with colluders --------------------------------------------------------------

    def signed_by(self, who: int, transcript: bytes, survivors: tuple[int, ...]) -> bytes:
        """A colluder signs whatever it is asked to."""
        secret = self.sessions[who].keys.signing_key
        return signing.sign(
            secret, "survivors", *survivors_parts(self.known.context, transcript, survivors)
        )

    # ---- afterwards ------------------------------------------------------------------

    def usable(self, round_: int, without: Iterable[int] = ()) -> None:
        """An honest round with the honest parties gives exactly their sum. The hospitals in
        `without` do not take part.
        """
        before = self.sessions[min(set(self.sessions) - set(without))].shared
        model = SharedModel(before.layout, before.vector.copy(), before.clips.copy(), before.round)
        messages = self.up_to("aggregate", round_, dead={"advertise_keys": without})
        alive = [who for who in self.sessions if who not in set(without)]
        self.tell({who: messages[who] for who in alive})
        rounds = {who: self.sessions[who].shared.round for who in alive}
        assert rounds == dict.fromkeys(alive, round_), (rounds, self.notes)
        expected = np.sum([integers(self.rig, who, round_, model.clips) for who in alive], axis=0)
        coding = Coding.of(self.rig.config, self.rig.layout)
        model.apply(coding.decode(expected, len(alive)), coding, self.rig.config, round_)
        for who in alive:
            assert np.array_equal(self.sessions[who].shared.vector, model.vector)

    def discarded(self, who: int, round_: int) -> bool:
        return Discard(round_) in self.effects[who]


EVERYBODY = (0, 1, 2, 3, 4)
CLIPS = start_model().clips


def liar(cohort: int = 5, hospitals: int | None = None, **changes: Any) -> LyingCoordinator:
    """Hospitals under masks that hold a group key, all lines in one hand."""
    return LyingCoordinator(Rig(config("masked", cohort, rounds=9, **changes), hospitals))


def refuses(hub: LyingCoordinator, who: int, message: Any, reason: str, words: str) -> None:
    """The hospital gives no answer, tells its operator these words, and the coordinator this
    reason.
    """
    assert hub.say(who, message) == []
    assert hub.refusals[who][-1] == reason, hub.notes[who]
    assert words in hub.notes[who][-1]
