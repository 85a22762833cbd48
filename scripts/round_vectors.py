"""Whole rounds for tests/vectors/protocol/: what every step of both roles receives and sends.

All keys, updates and random bytes come from fixed seeds. Microsoft SEAL draws the noise of its
encryptions by itself, so ciphertexts, and the signatures over them, differ each time: of these the
vectors hold the length, and of the sum what it decrypts to. The group's CKKS key is made of fixed
words (a symmetric encryption is right for every key polynomial).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import msgspec
import numpy as np

from crypto import kdf
from crypto.packing import KEY, PRIME, Packing
from federation import protections
from federation.codec import PROTOCOL_VERSION, encode
from federation.coding import Contribution
from federation.config import FederationConfig, Model, Protection, Rounds, to_toml, validate
from federation.groupkey import GroupKey
from federation.keys import Secrets
from federation.layout import Layout
from federation.messages import Grant, Message, Update
from federation.plan import Plan
from federation.protections.base import LocalInputs, State, step
from federation.protections.gathering import AnyGathering, Outcome
from federation.roster import Roster
from federation.types import Digest, HospitalNumber, Random, RunId

LAYOUT = Layout(("weight", "bias"), ((2, 2), (1,)))
RUN = RunId(bytes(range(16)))
MODEL = Digest(kdf.digest("vector-model"))

CASES: dict[str, tuple[str, int, int | None]] = {
    "plain": ("plain", 3, None),
    "masked": ("masked", 3, None),
    "masked-dropout": ("masked", 4, 2),
    "ckks": ("ckks", 3, None),
    "masked+ckks": ("masked+ckks", 3, None),
}
"""File → (protection, hospitals, who leaves before its upload)."""


def _bytes(*name: str | int) -> bytes:
    return kdf.digest("vector", *name)


def random_of(who: int) -> Random:
    """Random bytes of one hospital: HKDF-SHA256 of a fixed secret, one block for each draw."""
    drawn = 0

    def draw(size: int) -> bytes:
        nonlocal drawn
        drawn += 1
        return kdf.derive(_bytes("random", who), "vector-random", drawn, length=size)

    return draw


def _secrets(name: str) -> Secrets:
    keys = {
        field: _bytes(name, field).hex()
        for field in ("transport", "transport_public", "signing", "sealing", "own")
    }
    return Secrets(id=name, **keys)


def plan_of(protection: str, hospitals: int) -> tuple[Plan, list[Secrets]]:
    """Return the plan of round 1, and the hospitals' keys."""
    secrets = [_secrets(f"hospital-{who}") for who in range(hospitals)]
    roster = Roster(
        _secrets("coordinator").public("coordinator", "127.0.0.1:1"),
        [one.public() for one in secrets],
    )
    config = validate(
        FederationConfig(
            federation=Rounds(cohort=hospitals),
            model=Model(classes=("a", "b"), start_digest="0" * 64),
            protection=Protection(kind=protection),
        )
    )
    return Plan(config=config, roster=roster, layout=LAYOUT, run=RUN, round=1), secrets


def _ckks_key(packing: Packing) -> bytes:
    stream = kdf.derive(_bytes("ckks"), "vector-ckks", length=8160)
    words = np.resize(np.frombuffer(stream, "<u8") % PRIME, packing.degree)
    return packing.header(KEY) + words.astype("<u8").tobytes()


def group_of(plan: Plan) -> GroupKey:
    """Return the group key, with a CKKS key if the protection has one."""
    kind, secret = plan.config.protection.kind, _bytes("group")
    if not protections.get(kind).hidden:
        return GroupKey(1, secret)
    packing = Packing(plan.coding.bits, plan.coding.parties, kind.startswith("masked"))
    return GroupKey(1, secret, _ckks_key(packing))


def contribution(who: int) -> Contribution:
    """Return one hospital's update: five multiples of 1/64."""
    update = np.array([(place * (who + 1) - 4) / 64 for place in range(5)], np.float32)
    clips = np.full(2, 0.25, np.float32)
    return Contribution(update, 10 + who, 2, (1, 0, 0, who), clips, _bytes("rounding", who))


class Transcript:
    """Plays a round and writes down every step."""

    def __init__(self, protection: str, hospitals: int, leaves: int | None) -> None:
        self.plan, self.secrets = plan_of(protection, hospitals)
        self.protection = protections.get(protection)
        self.group, self.leaves = group_of(self.plan), leaves
        self.steps: list[dict[str, Any]] = []
        self.states: dict[HospitalNumber, State] = {}

    def play(self) -> dict[str, Any]:
        """Return the whole round."""
        gathering: AnyGathering = self.protection.open_round(self.plan)
        first: dict[HospitalNumber, Message] = {who: self._begin(who) for who in self.plan.cohort}
        answers, outcome = first, None
        while outcome is None:
            if gathering.granted:
                answers = {
                    who: self._step(who, Grant(round=1)) for who in self._uploaders(gathering)
                }
            for who, message in answers.items():
                gathering.accept(who, message)
            following, messages = gathering.close()
            self._closed(gathering, following, messages)
            if isinstance(following, Outcome):
                outcome = following
                break
            gathering, answers = following, {}
            for who in sorted(messages):
                if (answer := self._maybe(who, messages[who])) is not None:
                    answers[who] = answer
        return self._file(outcome)

    def _uploaders(self, gathering: AnyGathering) -> list[HospitalNumber]:
        return [who for who in gathering.awaited if who != self.leaves]

    def local_inputs(self, who: HospitalNumber) -> LocalInputs:
        """Return what this hospital brings to the round."""
        return LocalInputs(
            number=who,
            signing_key=self.secrets[who].signing_key,
            contribution=contribution(who),
            model=MODEL,
            group=self.group,
            random=random_of(who),
        )

    def _begin(self, who: HospitalNumber) -> Message:
        self.states[who], message = self.protection.begin(self.plan, self.local_inputs(who))
        self._write(f"hospital {who}", self.protection.begin, None, message)
        return message

    def _step(self, who: HospitalNumber, received: Message) -> Message:
        message = self._maybe(who, received)
        if message is None:
            raise RuntimeError("a step that must answer sends nothing")
        return message

    def _maybe(self, who: HospitalNumber, received: Message) -> Message | None:
        before = self.states[who]
        taken = self.protection.steps[type(before), type(received)]
        self.states[who], message = step(self.protection.steps, before, received)
        self._write(f"hospital {who}", taken, received, message)
        return message

    def _write(
        self, role: str, taken: Callable[..., Any], received: Message | None, sent: Message | None
    ) -> None:
        self.steps.append(
            {
                "role": role,
                "step": taken.__name__,
                "receives": None if received is None else self.shown(received),
                "sends": None if sent is None else self.shown(sent),
            }
        )

    def _closed(
        self, gathering: AnyGathering, following: AnyGathering | Outcome, messages: Any
    ) -> None:
        sends = {str(who): self.shown(message) for who, message in sorted(messages.items())}
        if isinstance(following, Outcome):
            sends["everybody"] = self.shown(following.aggregate)
        self.steps.append(
            {
                "role": "coordinator",
                "phase": gathering.phase,
                "has": list(gathering.present),
                "sends": sends,
            }
        )

    def shown(self, message: Message) -> dict[str, Any]:
        """Return a message's name and frames in hex; of ciphertexts their lengths only."""
        random = self.protection.hidden and bool(getattr(message, "buffers", ()))
        lengths = [len(buffer) for buffer in getattr(message, "buffers", ())]
        if random and isinstance(message, Update):
            message = msgspec.structs.replace(message, signature=bytes(64))
        frames = [bytes(frame).hex() for frame in encode(message)]
        if not random:
            return {"message": type(message).__name__, "frames": frames}
        return {
            "message": type(message).__name__,
            "frames": frames[:2],
            "ciphertext_bytes": lengths,
        }

    def _file(self, outcome: Outcome) -> dict[str, Any]:
        plan, protection = self.plan, self.protection
        binding = protection.bind(MODEL, self.group)
        total = protection.open_aggregate(plan, binding, self.group, outcome.aggregate, None)
        return {
            "protocol_version": PROTOCOL_VERSION,
            "federation.toml": to_toml(plan.config),
            "roster.toml": plan.roster.to_toml(),
            "run": plan.run.hex(),
            "round": plan.round,
            "model": MODEL.hex(),
            "group_secret": self.group.secret.hex(),
            "context": plan.context(binding).hex(),
            "signing_keys": [one.signing for one in self.secrets],
            "updates": [contribution(who).update.tolist() for who in plan.cohort],
            "rounding_keys": [contribution(who).rounding_key.hex() for who in plan.cohort],
            "steps": self.steps,
            "sum": {
                "survivors": list(outcome.aggregate.survivors),
                "values": np.asarray(total.values).tolist(),
                "examples": total.examples,
                "steps": total.steps,
                "confusion": list(total.confusion),
                "clipped": total.clipped,
            },
        }


def rounds(names: Sequence[str] = tuple(CASES)) -> dict[str, dict[str, Any]]:
    """Return the transcript of each case, by the name of its file."""
    return {name: Transcript(*CASES[name]).play() for name in names}
