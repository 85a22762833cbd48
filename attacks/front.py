"""`flop.attack(...)`: one attack on what a coordinator saw, from Python."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from torch import nn

from attacks import scores
from attacks.kinds import kind_of
from attacks.methods import Answer, Attack, Membership, Reconstruction, Settings, find
from attacks.methods import LabelShares as Shares
from attacks.observation import Case, Observation, SideKnowledge
from attacks.recorded import Seen
from attacks.trials import Truth
from federation.errors import ConfigError
from learning import device as devices
from learning import models

KNOWLEDGE = tuple(field.name for field in fields(SideKnowledge))


@dataclass(frozen=True, repr=False)
class Leak:
    """What one attack found in one or several observations.

    Attributes:
        attack: The registered attack.
        answer: Its answer, one entry per observation.
        hospitals: Whom each observation speaks of, if that is known.
        truth: The images behind each observation, if the caller has given them.
    """

    attack: Attack[Any]
    answer: Answer
    hospitals: tuple[tuple[str, ...], ...] = ()
    truth: tuple[Truth, ...] | None = None

    @property
    def images(self) -> np.ndarray | None:
        """(observations, B, C, H, W) in [0, 1], None if the attack answers with something else."""
        return self.answer.images if isinstance(self.answer, Reconstruction) else None

    @property
    def labels(self) -> np.ndarray | None:
        """(observations, B) labels, None if the attack cannot know them."""
        return self.answer.labels if isinstance(self.answer, Reconstruction) else None

    @property
    def membership(self) -> np.ndarray | None:
        """(observations, candidates) scores of an attack on membership, otherwise None."""
        return self.answer.scores if isinstance(self.answer, Membership) else None

    @property
    def label_shares(self) -> np.ndarray | None:
        """(observations, classes) estimated label distributions, otherwise None."""
        return self.answer.shares if isinstance(self.answer, Shares) else None

    @property
    def scores(self) -> list[scores.ImageScore] | None:
        """One score per true image; None without the truth or without images."""
        if self.images is None or self.truth is None:
            return None
        return [
            score
            for found, one in zip(self.images, self.truth, strict=True)
            for score in scores.score(found, one.images)
        ]

    def show(self) -> Figure:
        """Return a matplotlib figure of the answer, beside the truth if it was given."""
        return kind_of(self.attack).draw(self.answer, self.truth).figure

    def _repr_png_(self) -> bytes:
        """What a notebook shows of it."""
        return kind_of(self.attack).draw(self.answer, self.truth).png

    def __repr__(self) -> str:
        answer = self.answer
        said = f"{self.attack.name} ({self.attack.title}): {answer.about}"
        if self.images is not None:
            said += f" {self.images.shape}"
        if self.scores is not None and self.truth is not None:
            median = float(np.median([score.psnr for score in self.scores]))
            grey = [
                scores.constant_controls(one.images, np.full(one.images.shape[1:], 0.5))["grey"]
                for one in self.truth
            ]
            said += f", median PSNR {median:.1f} dB (mid-grey: {np.median(grey):.1f} dB)"
        return f"<{said}; {answer.steps} steps in {answer.seconds:.1f} s>"


def attack(
    name: str,
    seen: Observation | Seen | Sequence[Observation | Seen],
    *,
    images: int = 1,
    truth: np.ndarray | Sequence[np.ndarray] | None = None,
    model: nn.Module | None = None,
    steps: int | None = None,
    restarts: int | None = None,
    seed: int = 0,
    device: str = "auto",
    **knowledge: Any,
) -> Leak:
    """Run one attack on what a coordinator saw.

    Args:
        name: An attack of `flop attack list`, for instance "varpro".
        seen: One observation or several, as `run.seen(round=1)` gives them. What the agreed config
            tells everybody is taken from there.
        images: How many images to search for in an update: the attacker's guess.
        truth: The true images, (B, C, H, W) for one observation or one such array for each; uint8
            or in [0, 1]. The attack does not see them; they are for `scores` and `show`.
        model: The module, if the run was made with a module of your own.
        steps: Steps of the search; None is the attack's own.
        restarts: Starts, chosen among by the objective alone; None is the attack's own.
        seed: The same seed gives the same start of the search.
        device: auto, cpu, cuda, cuda:N or mps.
        **knowledge: What else the attacker is declared to know: fields of `SideKnowledge`.

    Returns:
        The answer, with `images`, `labels`, `scores` and `show()`.

    Raises:
        ConfigError: If there is no such attack, something that it needs is missing, or `knowledge`
            has an unknown name.
    """
    several = [seen] if isinstance(seen, Observation | Seen) else list(seen)
    unknown = sorted(set(knowledge) - set(KNOWLEDGE))
    if unknown:
        raise ConfigError(
            f"flop.attack: {unknown[0]} is nothing that an attacker can know; choose among"
            f" {', '.join(KNOWLEDGE)}"
        )
    cases = []
    for one in several:
        case = one.case(images) if isinstance(one, Seen) else Case(one, _guess(images))
        cases.append(case._replace(knowledge=replace(case.knowledge, **knowledge)))
    with models.own(model) if model is not None else nullcontext():
        try:
            method, place = find(name), str(devices.choose(device))
            settings = Settings(steps=steps, restarts=restarts, seed=seed, device=place)
            answer = method.run(cases, settings)
        except ValueError as error:  # an unknown name, or an attack that lacks what it needs
            raise ConfigError(str(error)) from None
    hospitals = tuple(one.hospitals for one in several if isinstance(one, Seen))
    return Leak(method, answer, hospitals, None if truth is None else _truths(truth, len(cases)))


def _guess(images: int) -> SideKnowledge:
    return SideKnowledge(batch_size=images, images=images)


def _truths(truth: np.ndarray | Sequence[np.ndarray], count: int) -> tuple[Truth, ...]:
    each = [truth] if isinstance(truth, np.ndarray) and truth.ndim == 4 else list(truth)
    if len(each) != count:
        raise ConfigError(
            f"flop.attack: truth has images of {len(each)} observations, but {count} were attacked"
        )
    scaled = [x / 255.0 if x.dtype == np.uint8 else x.astype(np.float64) for x in each]
    return tuple(Truth(x, np.zeros(len(x), np.int64), ({},)) for x in scaled)
