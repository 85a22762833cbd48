"""Take the summed gradient of a Linear+ReLU layer apart into the images that it is a sum of.

After SPEAR (Dimitrov et al. 2024, arXiv:2403.03945) and SPEAR++ (arXiv:2510.24200). For a layer
z = W a + b that is followed by a ReLU, the gradient of a sum over images is

    G = dL/dW = sum_i d_i a_i^T   and   g = dL/db = sum_i d_i,

where a_i is the layer's input for image i, and d_i = dL/dz of image i. Nothing behind the layer
is needed: a private head, its labels and its loss only shape the d_i, which are found as well. A
sum over several hospitals has the same form with more images, so masks do not change the problem.

Why it can be solved. G has the rank of the number of images. The ReLU makes every d_i zero on the
units that are off for image i (dropout makes it sparser still). With the singular vectors U of G,
each d_i is U q_i for some q_i, and q_i is found as the direction in which U q is sparsest.

Why the attacker knows that it has won. `Separation.violation` is the share of the d_i's mass that
stands on units with W a_i + b < 0. It is 0 for the true solution, and about one half for a wrong
one. It needs no ground truth (SPEAR, section 4).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

CERTAIN = 0.02
"""A separation with a smaller violation is taken to be the true one."""

_IRLS_STEPS = 25
_SHRINK = 0.75
"""Factor by which the smoothing of |U q| shrinks in each reweighting step."""
_SAME = 0.98
"""Directions with a larger cosine are one candidate."""
_NEW = 0.05
"""A direction counts as independent of those chosen if at least this much of it is left."""


@dataclass(frozen=True)
class Separation:
    """What the attack found.

    Attributes:
        inputs: The layer's inputs a_i, images x inputs of the layer, in no particular order.
        cotangents: The gradients d_i at the layer's output, images x units.
        violation: Share of the cotangents' mass on units that are off, 0 to 1, largest over the
            images. Below `CERTAIN` the separation is accepted.
        starts: How many starting directions were tried.
    """

    inputs: Array
    cotangents: Array
    violation: float
    starts: int

    @property
    def certain(self) -> bool:
        """Whether the certificate accepts this separation."""
        return self.violation < CERTAIN


def count_images(weight_gradient: Array, noise: float) -> int:
    """Number of images in the sum, read off the rank of the gradient above its noise.

    Args:
        weight_gradient: dL/dW, units x inputs.
        noise: Standard deviation of the error in one entry (rounding, quantisation).
    """
    singular = np.linalg.svd(weight_gradient, compute_uv=False)
    active_rows = int((np.abs(weight_gradient).max(axis=1) > 0).sum())
    active_columns = int((np.abs(weight_gradient).max(axis=0) > 0).sum())
    # largest singular value of a random matrix of that size, with a margin of 10 %
    edge = 1.1 * noise * (np.sqrt(active_rows) + np.sqrt(active_columns))
    return int((singular > edge).sum())


def separate(
    weight_gradient: Array,
    bias_gradient: Array,
    weight: Array,
    bias: Array,
    *,
    noise: float,
    generator: np.random.Generator,
    images: int | None = None,
    batches: int = 40,
    starts: int = 300,
) -> Separation | None:
    """Separate a summed gradient into the images' layer inputs.

    Args:
        weight_gradient: dL/dW, units x inputs.
        bias_gradient: dL/db, units.
        weight: W before the step, units x inputs.
        bias: b before the step, units.
        noise: Standard deviation of the error in one entry of `weight_gradient`.
        generator: Draws the starting directions.
        images: Number of images in the sum; by default `count_images`.
        batches: Gives up after so many batches of `starts` starting directions.
        starts: Starting directions in a batch.

    Returns:
        The separation with the smallest violation, or None if too few independent sparse
        directions were found, or if the gradient has too few active units for its rank.
    """
    count = count_images(weight_gradient, noise) if images is None else images
    if count < 1 or count > min(weight_gradient.shape):
        return None
    u, singular, right = np.linalg.svd(weight_gradient, full_matrices=False)
    left, singular, right = u[:, :count], singular[:count], right[:count]
    if count == 1:
        return _finish(left, singular, right, np.ones((1, 1)), bias_gradient, weight, bias, 0)
    active = left[np.linalg.norm(left * singular, axis=1) > 6 * noise]
    if len(active) < count + 2 or not (singular > 0).all():
        return None
    coordinate_noise = noise / singular
    candidates = _Candidates(count)
    best: Separation | None = None
    for batch in range(1, batches + 1):
        found = _refine(active, _start(active, starts, generator), coordinate_noise)
        candidates.add(active, found, coordinate_noise)
        chosen = candidates.independent()
        if chosen is None:
            continue
        args = (left, singular, right, chosen, bias_gradient, weight, bias, batch * starts)
        made = _finish(*args)
        if best is None or made.violation < best.violation:
            best = made
        if best.certain:
            break
    return best


def _start(active: Array, starts: int, generator: np.random.Generator) -> Array:
    """Directions q that vanish on count - 1 random units each: starts x count, of length 1."""
    count = active.shape[1]
    rows = np.argsort(generator.random((starts, len(active))), axis=1)[:, : count - 1]
    return np.asarray(np.linalg.svd(active[rows], full_matrices=True)[2][:, -1, :])


def _refine(active: Array, directions: Array, coordinate_noise: Array) -> Array:
    """Minimise |U q|_1 on the sphere by iteratively reweighted least squares."""
    smoothing = 0.3 / np.sqrt(len(active))
    for _ in range(_IRLS_STEPS):
        size = np.abs(directions @ active.T)
        floor = _noise_of(directions, coordinate_noise)
        weights = 1.0 / np.maximum(size, np.maximum(smoothing, floor))
        form = np.matmul((weights[:, :, None] * active).transpose(0, 2, 1), active)
        directions = np.linalg.eigh(form)[1][:, :, 0]
        smoothing *= _SHRINK
    # what is left of the smoothing: fit the units that are zero up to it, and those only
    size = np.abs(directions @ active.T)
    zero = size < np.maximum(10 * smoothing, 4 * _noise_of(directions, coordinate_noise))
    form = np.matmul((zero[:, :, None] * active).transpose(0, 2, 1), active)
    return np.asarray(np.linalg.eigh(form)[1][:, :, 0])


def _noise_of(directions: Array, coordinate_noise: Array) -> Array:
    """Standard deviation of U q in each direction: directions x 1."""
    return np.asarray(np.sqrt(directions**2 @ coordinate_noise**2)[:, None])


class _Candidates:
    """Sparse directions found so far, each once, with the number of units on which they vanish."""

    def __init__(self, count: int) -> None:
        self.count = count
        self.directions: list[Array] = []
        self.zeros: list[int] = []

    def add(self, active: Array, directions: Array, coordinate_noise: Array) -> None:
        size = np.abs(directions @ active.T)
        zeros = (size < 4 * _noise_of(directions, coordinate_noise) + 1e-12).sum(axis=1)
        for at in np.argsort(-zeros):
            if zeros[at] < self.count + 2:  # any direction can vanish on count - 1 units
                return
            if all(abs(directions[at] @ known) < _SAME for known in self.directions):
                self.directions.append(directions[at])
                self.zeros.append(int(zeros[at]))

    def independent(self) -> Array | None:
        """The sparsest `count` independent directions as columns, or None if there are fewer."""
        chosen: list[Array] = []
        for direction in self._sparsest_first():
            if not chosen or _remainder(direction, np.stack(chosen, axis=1)) > _NEW:
                chosen.append(direction)
            if len(chosen) == self.count:
                return np.stack(chosen, axis=1)
        return None

    def _sparsest_first(self) -> Iterator[Array]:
        for at in np.argsort(-np.array(self.zeros, dtype=np.int64), kind="stable"):
            yield self.directions[at]


def _remainder(direction: Array, basis: Array) -> float:
    """Length of what is left of `direction` outside of the span of `basis`."""
    inside = basis @ np.linalg.lstsq(basis, direction, rcond=None)[0]
    return float(np.linalg.norm(direction - inside))


def _finish(
    left: Array,
    singular: Array,
    right: Array,
    directions: Array,
    bias_gradient: Array,
    weight: Array,
    bias: Array,
    starts: int,
) -> Separation:
    """Fix the scale of each direction by dL/db = sum_i d_i, then solve for the inputs."""
    unscaled = left @ directions
    scale = np.linalg.lstsq(unscaled, bias_gradient, rcond=None)[0]
    cotangents = unscaled * scale
    inputs = np.linalg.lstsq(directions * scale, singular[:, None] * right, rcond=None)[0]
    off = inputs @ weight.T + bias < 0
    mass = np.abs(cotangents.T)
    violation = float(((mass * off).sum(axis=1) / np.maximum(mass.sum(axis=1), 1e-300)).max())
    return Separation(np.asarray(inputs), np.asarray(cotangents.T), violation, starts)
