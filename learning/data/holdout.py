"""The local split: what a hospital trains on and what it keeps back to test itself."""

from __future__ import annotations

import numpy as np


def local_split(
    labels: np.ndarray, groups: np.ndarray | None = None, fraction_test: float = 0.2, seed: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """(train_rows, test_rows): sorted positions in `labels`, disjoint and complete; no group has
    images in both.

    Stratified as far as the groups allow: groups are visited in random order, large ones first, and
    one goes to the test part if that brings its class counts nearer to `fraction_test` of the
    hospital's (without groups: each class rounded to the nearest image).

    Tiny hospitals: the training part is never empty if there is an image. If rounding leaves no
    test image although `fraction_test` of all images is at least half an image and there are two
    groups or more, the smallest group of the most common class is tested. So at 0.2 a hospital of
    one or two images, or of one single patient, has an empty test part.
    """
    labels = np.asarray(labels)
    if not 0 <= fraction_test < 1:
        raise ValueError(f"fraction_test must be at least 0 and below 1, not {fraction_test}.")
    if groups is not None and len(groups) != len(labels):
        raise ValueError(f"There are {len(labels)} labels but {len(groups)} groups.")
    rng = np.random.default_rng(seed)
    _, label = np.unique(labels, return_inverse=True)
    _, unit = np.unique(
        np.arange(len(labels)) if groups is None else np.asarray(groups), return_inverse=True
    )
    counts = np.zeros((unit.max(initial=-1) + 1, label.max(initial=-1) + 1))
    np.add.at(counts, (unit, label), 1)
    sizes = counts.sum(axis=1)
    order = rng.permutation(len(counts))
    order = order[np.argsort(-sizes[order], kind="stable")]
    missing = fraction_test * counts.sum(axis=0)
    tested = np.zeros(len(counts), dtype=bool)
    for group in order:
        # |missing - c|² < |missing|², written so that a float's last bit does not decide a tie
        if sizes[group] and 2 * missing @ counts[group] > counts[group] @ counts[group] + 1e-9:
            tested[group] = True
            missing = missing - counts[group]
    if len(counts) > 1 and not tested.any() and fraction_test * len(labels) >= 0.5:
        common = counts.sum(axis=0).argmax()
        candidates = order[counts[order, common] > 0]
        tested[candidates[-1]] = True
    if tested.all() and len(counts):
        tested[order[0]] = False
    in_test = tested[unit] if len(labels) else np.zeros(0, dtype=bool)
    return np.flatnonzero(~in_test), np.flatnonzero(in_test)
