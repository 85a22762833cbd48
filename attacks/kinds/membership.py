"""Membership: the AUC with which the attack tells a hospital's images from strangers'."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from msgspec.structs import replace

from attacks import drawing, scores
from attacks.kinds._kind import Kind, Panel, Scene, better_than_chance
from attacks.methods import Membership
from attacks.row import Row
from attacks.trials import Truth
from simulation.report.kit import Drawing

CHANCE = 0.5


class MembershipKind(Kind[Membership]):
    """The AUC goes into the column `identifiability`."""

    def measure(self, scene: Scene[Membership], row: Row) -> tuple[Row, Panel | None]:
        answer = scene.attack.run(scene.cases, scene.settings)
        values = []
        for found, trial in zip(answer.scores, scene.trials, strict=True):
            own = len(trial.truth.images)
            values.append(scores.auc(found, np.repeat([1, 0], [own, len(found) - own])))
        return replace(
            row,
            steps=answer.steps,
            seconds=round(answer.seconds, 2),
            identifiability=round(float(np.mean(values)), 4),
            chance=CHANCE,
            note="AUC of membership; chance is 0.5",
        ), None

    def verdict(self, row: Row) -> str:
        return better_than_chance(row.identifiability, row.chance)

    def sentence(self, row: Row) -> str:
        told = 100 * (row.identifiability or 0.0)
        return (
            f"Told a patient's image from a stranger's in {told:.0f} % of pairs; a coin would in"
            " 50 %."
        )

    def facts(self, answer: Membership) -> dict[str, object]:
        return {"scores": answer.scores.tolist()}

    def draw(self, answer: Membership, truth: Sequence[Truth] | None) -> Drawing:
        labels = [str(i) for i in range(answer.scores.shape[1])]
        return drawing.bars(answer.scores, labels, "candidate", "explains this part of the update")
