"""From a layer's inputs back to images: a linear decoder that is fitted on public images.

Ridge regression from features to pixels, in closed form. What it can show at all is bounded by the
public images that it is fitted on, so its own guess (the decoder on another image's features) is a
control that belongs beside every figure.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Decoder = Callable[[Array], Array]
"""Takes features, n x f; gives pixels, n x p, between 0 and 1."""


def fit(features: Array, pixels: Array, ridge: float = 0.03) -> Decoder:
    """Fit a linear decoder.

    Args:
        features: Features of public images under the observed weights, n x f.
        pixels: The same images, n x p, between 0 and 1.
        ridge: Weight of the penalty, relative to the features' mean square.

    Raises:
        ValueError: If the numbers of features and of images differ, or there is none.
    """
    if len(features) != len(pixels) or not len(features):
        raise ValueError(f"{len(features)} rows of features for {len(pixels)} images")
    centre, mean = features.mean(axis=0), pixels.mean(axis=0)
    spread, rest = features - centre, pixels - mean
    penalty = ridge * len(features) * max(float((spread**2).mean()), 1e-30)
    if len(features) >= features.shape[1]:
        form = spread.T @ spread + penalty * np.eye(features.shape[1])
        linear = np.linalg.solve(form, spread.T @ rest)
    else:  # the same solution from the smaller of the two systems
        form = spread @ spread.T + penalty * np.eye(len(features))
        linear = spread.T @ np.linalg.solve(form, rest)

    def decode(given: Array) -> Array:
        return np.asarray(np.clip((given - centre) @ linear + mean, 0.0, 1.0))

    return decode
