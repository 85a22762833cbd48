"""Reconstructed images: PSNR and its companions, each held against the image's own best control."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from dataclasses import replace as changed
from pathlib import Path

import numpy as np
from msgspec.structs import replace

from attacks import drawing, protected, scores
from attacks.kinds._kind import HOLDS, LEAKS, NOTHING, PARTLY, Kind, Panel, Scene
from attacks.methods import Reconstruction
from attacks.observation import Case
from attacks.row import Row
from attacks.trials import Truth
from simulation.report.kit import Drawing

CLEAR = 25.0  # dB: recognisable at a glance
TOLD_APART = 0.3  # of the images, among some two hundred
SHOWN = 8


class ImagesKind(Kind[Reconstruction]):
    """Images are scored against the truth, after one assignment, and against three controls."""

    def measure(self, scene: Scene[Reconstruction], row: Row) -> tuple[Row, Panel | None]:
        """The panel holds `truth`, what was `found`, what was found in somebody else's update
        (`unrelated`) and the `mean` image.
        """
        cases, trials = scene.cases, scene.trials
        # the control runs in the same batch: half of the copies attack somebody else's update
        others = [*cases[1:], cases[0]]
        crossed = [crossing(case, other) for case, other in zip(cases, others, strict=True)]
        both = scene.attack.run([*cases, *crossed] if len(cases) > 1 else cases, scene.settings)
        found, unrelated = both.images[: len(cases)], both.images[len(cases) :]
        row = replace(row, steps=both.steps, seconds=round(both.seconds, 2))
        panel = {
            "truth": np.concatenate([t.truth.images for t in trials]),
            "found": _paired(found, [t.truth for t in trials]),
            "mean": scene.pictures.mean[None],
        }
        if len(unrelated):
            panel["unrelated"] = _paired(unrelated, [t.truth for t in trials])
        shown = {name: images[:SHOWN].astype(np.float16) for name, images in panel.items()}
        return _scored(row, scene, found, unrelated, both.labels), shown

    def verdict(self, row: Row) -> str:
        success = row.success_rate or 0.0
        if success >= 0.5:
            return LEAKS if (row.psnr_median or 0.0) >= CLEAR else PARTLY
        if success > 0 or _told_apart(row):
            return PARTLY
        return NOTHING if protected.reads_updates(row.protection) else HOLDS

    def sentence(self, row: Row) -> str:
        psnr, success = row.psnr_median or 0.0, row.success_rate or 0.0
        figure = f"{psnr:.0f} dB; the best guess without it {row.control_psnr or 0.0:.0f} dB"
        share = f"{100 * success:.0f} %"
        if success >= 0.5 and psnr >= CLEAR:
            return f"The patients' images, recognisable: {share} of them ({figure})."
        if success >= 0.5:
            return f"Blurred images, more than a guess for {share} of them ({figure})."
        if success > 0:
            return f"Mostly nothing; something of {share} of the images ({figure})."
        if _told_apart(row):
            return (
                f"No image, but for {100 * (row.identifiability or 0.0):.0f} % of them which one of"
                f" all at hand it is ({figure})."
            )
        return f"Nothing that a blind guess would not show as well ({figure})."

    def facts(self, answer: Reconstruction) -> dict[str, object]:
        objective = None if answer.objective is None else [float(v) for v in answer.objective]
        return {"objective": objective}

    def draw(self, answer: Reconstruction, truth: Sequence[Truth] | None) -> Drawing:
        if truth is None:
            found = np.concatenate(list(answer.images))
            return drawing.side_by_side([("from the update", found)])
        real = np.concatenate([one.images for one in truth])
        return drawing.side_by_side(
            [("original", real), ("from the update", _paired(answer.images, truth))]
        )

    def save(self, answer: Reconstruction, folder: Path) -> None:
        """One enlarged PNG per image."""
        drawing.save_images(answer.images, folder)


def crossing(case: Case, other: Case) -> Case:
    """The case with another one's update: what is found then is chance."""
    return case._replace(observation=changed(case.observation, update=other.observation.update))


def _paired(found: np.ndarray, truth: Sequence[Truth]) -> np.ndarray:
    pairs = zip(found, truth, strict=True)
    return np.concatenate([f[scores.assignment(f, one.images)] for f, one in pairs])


def _scored(
    row: Row,
    scene: Scene[Reconstruction],
    found: np.ndarray,
    unrelated: np.ndarray,
    labels: np.ndarray | None,
) -> Row:
    pool = np.concatenate([scene.pictures.images, scene.pictures.others]) / 255.0
    every: list[scores.ImageScore] = []
    best: list[np.ndarray] = []
    single: dict[str, list[float]] = {}
    for i, trial in enumerate(scene.trials):
        truth = trial.truth
        every += scores.score(
            found[i],
            truth.images,
            pool=pool,
            labels=None if labels is None else labels[i],
            true_labels=truth.labels,
        )
        guesses = scores.constant_controls(truth.images, scene.pictures.mean)
        if len(unrelated):
            guesses["unrelated"] = np.array(
                [s.psnr for s in scores.score(unrelated[i], truth.images)]
            )
        best.append(np.max(list(guesses.values()), axis=0))
        for name, values in guesses.items():
            single.setdefault(f"control_{name}", []).extend(values)
    figures: dict[str, float | int | None] = asdict(scores.summarise(every, np.concatenate(best)))
    figures |= {name: float(np.median(values)) for name, values in single.items()}
    return replace(
        row, **{n: round(v, 4) if isinstance(v, float) else v for n, v in figures.items()}
    )


def _told_apart(row: Row) -> bool:
    """PSNR and identifiability can disagree: a reconstruction that resembles nothing may still be
    nearest to the true image.
    """
    return (row.identifiability or 0.0) >= TOLD_APART
