"""Scores of reconstructions against the truth, and the controls that give a score its meaning.

One Hungarian assignment on the mean squared error pairs the reconstructions of a victim with its
images, and every metric uses that pairing. Images are float in [0, 1], shape (B, C, H, W) for a
victim.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from scipy.optimize import linear_sum_assignment
from torchmetrics.functional.image import structural_similarity_index_measure

SUCCESS_DB = 3.0
_FLOOR = 1e-12  # of the mean squared error: 120 dB is "exact"


@dataclass(frozen=True)
class ImageScore:
    """One image: PSNR in dB, SSIM and |NCC|; whether the nearest image of the pool is the true one,
    and whether the label is right (None: not asked).
    """

    psnr: float
    ssim: float
    ncc: float
    identified: bool | None
    label: bool | None


def psnr(mse: np.ndarray | float) -> np.ndarray:
    """Peak signal-to-noise ratio in dB for images in [0, 1], capped at 120; of `mse`'s shape."""
    return np.asarray(-10 * np.log10(np.maximum(mse, _FLOOR)))


def assignment(found: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Return for each true image the index of its reconstruction: least total squared error."""
    cost = ((truth[:, None] - found[None]) ** 2).reshape(len(truth), len(found), -1).mean(-1)
    rows, columns = linear_sum_assignment(np.nan_to_num(cost, nan=1e9))
    return np.asarray(columns)[np.argsort(rows)]


def score(
    found: np.ndarray,
    truth: np.ndarray,
    *,
    pool: np.ndarray | None = None,
    labels: np.ndarray | None = None,
    true_labels: np.ndarray | None = None,
) -> list[ImageScore]:
    """Score one victim's reconstructions (B, C, H, W) against its images of the same shape.

    Args:
        found: Reconstructions in [0, 1]; pixels that are not a number count as grey.
        truth: The true images in [0, 1].
        pool: (N, C, H, W) training images among which identifiability looks, the true ones
            included: its floor is 1/N. None leaves it out.
        labels: (B,) of the reconstructions, None if the attack gave none.
        true_labels: (B,) of the true images.

    Returns:
        One score per true image, in its order.
    """
    found = np.clip(np.nan_to_num(found.astype(np.float64), nan=0.5), 0, 1)
    truth = truth.astype(np.float64)
    order = assignment(found, truth)
    scores = []
    for i, j in enumerate(order):
        a, b = found[j], truth[i]
        identified = None
        if pool is not None:
            distance = ((pool.astype(np.float64) - a) ** 2).reshape(len(pool), -1).mean(-1)
            identified = bool(np.abs(pool[distance.argmin()] - b).max() < 1e-6)
        right = None if labels is None or true_labels is None else bool(labels[j] == true_labels[i])
        scores.append(
            ImageScore(float(psnr(((a - b) ** 2).mean())), ssim(a, b), ncc(a, b), identified, right)
        )
    return scores


def ssim(a: np.ndarray, b: np.ndarray) -> float:
    """Structural similarity of two images (C, H, W) in [0, 1] (torchmetrics)."""
    first, second = (torch.from_numpy(np.ascontiguousarray(x))[None] for x in (a, b))
    value = structural_similarity_index_measure(first, second, data_range=1.0)
    assert isinstance(value, torch.Tensor)  # a pair only if the gradient is asked for
    return float(value)


def ncc(a: np.ndarray, b: np.ndarray) -> float:
    """|normalised cross-correlation|, blind to brightness, contrast and inversion.

    0 for a constant image.
    """
    a, b = a - a.mean(), b - b.mean()
    norm = np.linalg.norm(a) * np.linalg.norm(b)
    return float(abs((a * b).sum()) / norm) if norm > 1e-9 else 0.0


def constant_controls(truth: np.ndarray, dataset_mean: np.ndarray) -> dict[str, np.ndarray]:
    """PSNR (B,) of `grey` and of `mean`, the data set's mean image, against each image."""
    truth = truth.astype(np.float64)
    guesses = {"grey": np.full_like(truth[0], 0.5), "mean": dataset_mean.astype(np.float64)}
    return {
        name: psnr(((truth - guess) ** 2).reshape(len(truth), -1).mean(-1))
        for name, guess in guesses.items()
    }


@dataclass(frozen=True)
class Summary:
    """A row's scores over all its images: quartiles, rates, the controls' median; None is N/A."""

    images: int
    psnr_q1: float
    psnr_median: float
    psnr_q3: float
    ssim_median: float
    ncc_median: float
    identifiability: float | None
    label_accuracy: float | None
    success_rate: float
    control_psnr: float


def summarise(scores: Sequence[ImageScore], controls: np.ndarray) -> Summary:
    """Medians, quartiles and rates; `controls` (images,) is each image's best control in dB.

    An image counts as a success when its PSNR is at least 3 dB above its own best control.
    """
    db = np.array([s.psnr for s in scores])
    q1, median, q3 = np.percentile(db, [25, 50, 75])
    return Summary(
        images=len(scores),
        psnr_q1=float(q1),
        psnr_median=float(median),
        psnr_q3=float(q3),
        ssim_median=float(np.median([s.ssim for s in scores])),
        ncc_median=float(np.median([s.ncc for s in scores])),
        identifiability=_rate([s.identified for s in scores]),
        label_accuracy=_rate([s.label for s in scores]),
        success_rate=float((db >= controls + SUCCESS_DB).mean()),
        control_psnr=float(np.median(controls)),
    )


def _rate(answers: Sequence[bool | None]) -> float | None:
    known = [a for a in answers if a is not None]
    return float(np.mean(known)) if known else None


def auc(scores: np.ndarray, member: np.ndarray) -> float:
    """Area under the ROC curve of membership scores (Mann-Whitney, ties count half).

    Raises ValueError if `member` (candidates,) has only one kind.
    """
    inside, outside = scores[member.astype(bool)], scores[~member.astype(bool)]
    if not len(inside) or not len(outside):
        raise ValueError("membership needs candidates of both kinds")
    wins = (inside[:, None] > outside[None]).mean() + 0.5 * (
        inside[:, None] == outside[None]
    ).mean()
    return float(wins)


def total_variation_distance(p: np.ndarray, q: np.ndarray) -> float:
    """Half the L1 distance of two label distributions: 0 is exact, 1 is disjoint."""
    return float(0.5 * np.abs(p / p.sum() - q / q.sum()).sum())
