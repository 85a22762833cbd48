"""What a kind of answer has to say: its scores, a verdict, a sentence, a picture."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

import numpy as np

from attacks.cells import Cell
from attacks.methods import Answer, Attack, Settings
from attacks.observation import Case
from attacks.pictures import Pictures
from attacks.row import Row
from attacks.trials import Trial, Truth
from simulation.report.kit import Drawing

Panel = dict[str, np.ndarray]
AnswerT = TypeVar("AnswerT", bound=Answer)
LEAKS, PARTLY, NOTHING, HOLDS, NOT_TRIED = "leaks", "partly", "nothing", "holds", "n/a"


@dataclass(frozen=True)
class Scene(Generic[AnswerT]):
    """Everything that one cell is measured with. Only the scorer sees all of it."""

    cell: Cell
    attack: Attack[AnswerT]
    pictures: Pictures
    trials: Sequence[Trial]
    cases: Sequence[Case]
    settings: Settings


class Kind(ABC, Generic[AnswerT]):
    """One kind of answer."""

    @abstractmethod
    def measure(self, scene: Scene[AnswerT], row: Row) -> tuple[Row, Panel | None]:
        """Run the attack and its controls and fill the row; with pictures to show, each (n, C, H,
        W), if the answer is pictures.
        """

    @abstractmethod
    def verdict(self, row: Row) -> str:
        """Judge a measured row: leaks, partly or nothing; holds if a protection stands behind the
        nothing.
        """

    @abstractmethod
    def sentence(self, row: Row) -> str:
        """Say in one plain sentence what the attacker gets."""

    @abstractmethod
    def facts(self, answer: AnswerT) -> dict[str, object]:
        """Return what a program may want to read of an answer, as JSON values."""

    @abstractmethod
    def draw(self, answer: AnswerT, truth: Sequence[Truth] | None) -> Drawing:
        """Draw the answer, beside the truth if it is known."""

    def save(self, answer: AnswerT, folder: Path) -> None:
        """Write the answer into a folder that exists; by default as one picture."""
        (folder / "answer.png").write_bytes(self.draw(answer, None).png)


def better_than_chance(figure: float | None, chance: float | None) -> str:
    """The verdict on an inference: how much of the way from chance to certainty it goes."""
    if figure is None or chance is None:
        return NOT_TRIED
    better = (figure - chance) / (1 - chance)
    return LEAKS if better > 0.8 else PARTLY if better > 0.2 else NOTHING
