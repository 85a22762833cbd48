"""What a coordinator saw of one round, and what else an attacker is *declared* to know.

An attack gets `Case`s and nothing else: the truth (images, labels, private layers) stays with the
scorer. An attack declares what it needs as a set of words (`NEEDS`); `require` refuses a case that
lacks one of them, so that no attack is silently helped. Arrays are numpy: an observation is made of
what came over the wire.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import NamedTuple, TypeVar

import numpy as np

Arrays = Mapping[str, np.ndarray]
T = TypeVar("T")

CURIOUS, COLLUDING = "honest-but-curious", "honest-but-curious + 1 hospital"
MALICIOUS = "malicious"
UNCHECKED, OTHER_LAYERS, OTHER_START, OTHER_AGGREGATE = (
    f"{MALICIOUS}: {lie}"
    for lie in ("nothing is checked", "other layers", "another start", "another aggregate")
)
"""Who attacks, in the words of the result rows. Observations of a liar say `MALICIOUS` alone."""

NEEDS = {
    "update": "an update that can be read (under ckks the coordinator holds ciphertext only)",
    "full_update": (
        "the update of every layer, the head's included (under FLOP the head stays in the hospital)"
    ),
    "buffers": "the BatchNorm buffers before and after the round",
    "malicious": "a coordinator that sent parameters of its own choice",
    "learning_rate": "the learning rate",
    "local_steps": "the number of local steps",
    "optimizer": "the optimizer",
    "batch_size": "the batch size",
    "classes": "the number of classes",
    "labels": "the labels",
    "proxy_head": "a colluding hospital's head",
    "oracle_head": "the attacked hospital's own head",
    "candidates": "candidate images whose membership is asked",
    "shadow": "labelled images of the same kind (shadow data)",
    "public": "public images of the same kind",
}


class MissingKnowledge(ValueError):
    """The case lacks something that the attack declared as needed; the message says what."""


def known(value: T | None, word: str) -> T:
    """Return what is known. Raises MissingKnowledge, which names `word` of NEEDS, if it is not."""
    if value is None:
        raise MissingKnowledge(f"not known: {NEEDS[word]}")
    return value


@dataclass(frozen=True)
class Observation:
    """One update as the coordinator holds it, for one round.

    `shared_before` and `update` map parameter names to arrays of the model's shapes; the sign is
    ours: update = local − global. `update` is one hospital's under plain, the sum over `summed`
    hospitals under masked, None under ckks, where `ciphertext` keeps the first bytes of the
    `ciphertext_bytes` that were received. `private` names the parameters that stay in the hospital
    (the agreed config says which). Buffers are BatchNorm's running statistics where they are
    shared.
    """

    model: str
    channels: int
    image_size: int
    shared_before: Arrays
    update: Arrays | None
    private: frozenset[str] = frozenset()
    buffers_before: Arrays = field(default_factory=dict)
    buffers_after: Arrays = field(default_factory=dict)
    ciphertext: bytes = b""
    ciphertext_bytes: int = 0
    algorithm: str = "fedavg"
    protection: str = "plain"
    adversary: str = CURIOUS
    cohort: int = 1
    summed: int = 1

    def __post_init__(self) -> None:
        if self.update is not None and set(self.update) != set(self.shared_before):
            odd = sorted(set(self.update) ^ set(self.shared_before))
            raise ValueError(
                "observation: update and shared parameters name different tensors:"
                f" {', '.join(odd)}"
            )
        if self.summed < 1:
            raise ValueError(
                f"observation: an update sums at least one hospital, not {self.summed}"
            )

    @property
    def readable(self) -> Arrays:
        """The update. Raises MissingKnowledge if it is a ciphertext."""
        return known(self.update, "update")

    def without(self, known: Arrays, hospitals: int = 1) -> Observation:
        """Return the observation less the updates of `hospitals` colluding hospitals.

        `known` is the sum of what they sent and handed over.

        Raises:
            MissingKnowledge: If the update is a ciphertext.
            ValueError: If no hospital would be left to attack.
        """
        if self.update is None:
            raise MissingKnowledge("a ciphertext cannot be reduced by a known update")
        if hospitals >= self.summed:
            raise ValueError(
                f"{hospitals} colluding of {self.summed} summed hospitals leave nobody to attack"
            )
        rest = {name: value - known[name] for name, value in self.update.items()}
        return replace(self, update=rest, summed=self.summed - hospitals)

    def read_as_numbers(self, seed: int = 0) -> Observation:
        """Return the bytes of the ciphertext as an update: all that is left without the key.

        The bytes are read as uniform numbers in [-1, 1), in a seeded order and with repetition. So
        "ckks showed nothing" is a measured row and not an assumption. Raises MissingKnowledge if
        the observation holds no ciphertext.
        """
        if not self.ciphertext:
            raise MissingKnowledge("the observation holds no ciphertext to read")
        coins = np.random.default_rng(seed)
        raw = np.frombuffer(self.ciphertext, np.uint8).astype(np.float32) / 128 - 1
        update = {
            name: raw[coins.integers(0, raw.size, value.size)].reshape(value.shape)
            for name, value in self.shared_before.items()
        }
        return replace(self, update=update)


@dataclass(frozen=True)
class SideKnowledge:
    """What the attacker knows besides the observation; None means unknown. Every value is declared
    in the result row.

    `batch_size` counts the images of one local step, `images` those of the whole update (default:
    batch_size); `mode` is "eval" or "train", how the hospital ran BatchNorm; `head` maps private
    names to arrays and `head_source` says whose it is ("proxy", "oracle"). `labels` (images,),
    `candidates` (n, C, H, W), `shadow` (images, labels), `public` (n, C, H, W) in [0, 1].
    """

    learning_rate: float | None = None
    local_steps: int | None = None
    optimizer: str | None = None
    batch_size: int | None = None
    images: int | None = None
    classes: int | None = None
    labels: np.ndarray | None = None
    mode: str = "eval"
    head: Arrays | None = None
    head_source: str = ""
    candidates: np.ndarray | None = None
    shadow: tuple[np.ndarray, np.ndarray] | None = None
    public: np.ndarray | None = None


class Case(NamedTuple):
    """One victim: what was seen of it, and what is known besides."""

    observation: Observation
    knowledge: SideKnowledge

    @property
    def images(self) -> int:
        """How many images the seen update was computed from, over all hospitals in the sum."""
        own = self.knowledge.images or self.knowledge.batch_size or 1
        return own * self.observation.summed

    def facts(self) -> frozenset[str]:
        """The words of `NEEDS` that this case can serve."""
        seen, known = self.observation, self.knowledge
        facts = {word for word in NEEDS if getattr(known, word, None) is not None}
        if seen.update is not None:
            facts.add("update")
            if not seen.private:
                facts.add("full_update")
        if seen.buffers_before and seen.buffers_after:
            facts.add("buffers")
        if known.head is not None and known.head_source in ("proxy", "oracle"):
            facts.add(f"{known.head_source}_head")
        if "head.bias" in seen.shared_before:
            facts.add("classes")
        if seen.adversary == MALICIOUS:
            facts.add("malicious")
        return frozenset(facts)


def require(attack: str, needs: Iterable[str], case: Case) -> None:
    """Raise MissingKnowledge if the case lacks something that the attack needs."""
    lacking = sorted(set(needs) - case.facts())
    if lacking:
        what = "; ".join(NEEDS[word] for word in lacking)
        raise MissingKnowledge(f"attack {attack} cannot run on this observation, it needs {what}")
