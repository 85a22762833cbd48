"""Label shares: how near the estimated distribution of the labels is to the hospital's own."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from msgspec.structs import replace

from attacks import drawing
from attacks.kinds._kind import Kind, Panel, Scene, better_than_chance
from attacks.methods import LabelShares
from attacks.row import Row
from attacks.scores import total_variation_distance
from attacks.trials import Truth
from simulation.report.kit import Drawing


class LabelSharesKind(Kind[LabelShares]):
    """1 − total variation distance goes into `label_accuracy`; chance is what the comparable data's
    own mix gives.
    """

    def measure(self, scene: Scene[LabelShares], row: Row) -> tuple[Row, Panel | None]:
        answer = scene.attack.run(scene.cases, scene.settings)
        classes = len(scene.pictures.classes)
        mix = np.bincount(scene.pictures.other_labels, minlength=classes)
        real = [np.bincount(t.truth.labels, minlength=classes) for t in scene.trials]
        found = zip(answer.shares, real, strict=True)
        right = float(np.mean([1 - total_variation_distance(a, b) for a, b in found]))
        chance = float(np.mean([1 - total_variation_distance(mix, b) for b in real]))
        return replace(
            row,
            steps=answer.steps,
            seconds=round(answer.seconds, 2),
            label_accuracy=round(right, 4),
            chance=round(chance, 4),
            note=f"share of labels right; the comparable data's own mix gives {chance:.2f}",
        ), None

    def verdict(self, row: Row) -> str:
        return better_than_chance(row.label_accuracy, row.chance)

    def sentence(self, row: Row) -> str:
        right, chance = 100 * (row.label_accuracy or 0.0), 100 * (row.chance or 0.0)
        return (
            f"Reads how often each diagnosis occurs, {right:.0f} % right; guessing the usual mix is"
            f" {chance:.0f} % right."
        )

    def facts(self, answer: LabelShares) -> dict[str, object]:
        return {"shares": answer.shares.tolist()}

    def draw(self, answer: LabelShares, truth: Sequence[Truth] | None) -> Drawing:
        labels = [str(i) for i in range(answer.shares.shape[1])]
        return drawing.bars(answer.shares, labels, "class", "estimated share of the images")
