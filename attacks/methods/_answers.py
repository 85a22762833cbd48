"""What an attack can answer: images, who was in the batch, or how often each label occurs.

One type per kind of answer. `attacks/kinds/` holds the scorer and the words of each type; the
answer itself knows nothing of the truth.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np


@dataclass(frozen=True)
class Answer:
    """What every answer has: the steps that the search made, and how long it took in seconds."""

    about: ClassVar[str] = "an answer"
    """What is answered, in words for `flop attack list`."""

    steps: int
    seconds: float


@dataclass(frozen=True)
class Reconstruction(Answer):
    """Reconstructed images, one entry per case.

    `images` (cases, B, C, H, W) in [0, 1]; `labels` (cases, B), or None if the attack cannot know
    them; `objective` (cases,), the value by which restarts were chosen, or None for a closed form.
    """

    about: ClassVar[str] = "images"

    images: np.ndarray
    labels: np.ndarray | None = None
    objective: np.ndarray | None = None


@dataclass(frozen=True)
class Membership(Answer):
    """`scores` (cases, candidates): the higher, the likelier the candidate was trained on."""

    about: ClassVar[str] = "membership"

    scores: np.ndarray


@dataclass(frozen=True)
class LabelShares(Answer):
    """`shares` (cases, classes): estimated label distribution; not negative, each row sums to 1."""

    about: ClassVar[str] = "label shares"

    shares: np.ndarray
