"""L-BFGS for many small problems at once (Liu and Nocedal 1989).

Every row has its own curvature pairs and step length. PyTorch's own minimises one function of one
vector; put together, the copies of a batch would share their line search and their curvature, and
the worst of them would stop all.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import torch
from torch import Tensor

from attacks.methods._attack import Progress
from attacks.methods._descent import Found
from attacks.methods._replica import Replica, Tensors

ARMIJO = 1e-4
HALVINGS = 12
# a row ends after this many steps that each gained less than this part
LEAST_GAIN, PATIENCE = 1e-4, 10


def minimise(
    function: Callable[[Replica, Tensors], Tensor],
    replica: Replica,
    start: Tensors,
    *,
    steps: int,
    tolerance: float,
    history: int = 50,
    progress: Progress | None = None,
) -> Found:
    """Minimise `function(replica, variables) -> (N,)` over every tensor of `start`, row by row.

    A row ends when it is below the tolerance or gains no more; rows that have ended leave the
    batch, so `function` takes what is a copy's own from the `replica` that it is given. Use
    float64: the curvature pairs are differences of gradients.
    """
    begun = time.perf_counter()
    shapes = {name: value.shape for name, value in start.items()}

    def unpack(flat: Tensor) -> Tensors:
        parts = torch.split(flat, [shape[1:].numel() for shape in shapes.values()], dim=1)
        return {
            name: part.reshape(-1, *shape[1:])
            for (name, shape), part in zip(shapes.items(), parts, strict=True)
        }

    def evaluate(flat: Tensor) -> tuple[Tensor, Tensor]:
        flat = flat.detach().requires_grad_()
        value = function(replica, unpack(flat))
        gradient = torch.autograd.grad(value.sum(), flat)[0]
        # a row that left the numbers counts as infinitely bad: the line search steps back from it
        value = torch.where(value.isfinite() & gradient.isfinite().all(1), value, torch.inf)
        return value.detach(), gradient.nan_to_num(0.0, 0.0, 0.0)

    point = torch.cat([value.detach().flatten(1) for value in start.values()], dim=1)
    value, gradient = evaluate(point)
    pairs: list[tuple[Tensor, Tensor, Tensor]] = []
    stale = torch.zeros_like(value)
    alive = torch.arange(len(point), device=point.device)
    found, objective = point.clone(), value.clone()
    step = 0
    for step in range(1, steps + 1):
        done = (stale >= PATIENCE) | (value <= tolerance)
        if done.all():
            break
        # narrowing costs a copy of everything, so wait until it pays
        if (~done).sum() <= 0.75 * len(done):
            found[alive], objective[alive] = point, value
            keep = (~done).nonzero().squeeze(1)
            alive, replica = alive[keep], replica.rows(keep)
            point, value, gradient, stale = point[keep], value[keep], gradient[keep], stale[keep]
            pairs = [(s[keep], y[keep], rho[keep]) for s, y, rho in pairs]
            done = done[keep]
        direction = -_inverse_hessian(gradient, pairs)
        slope = (direction * gradient).sum(1)
        uphill = slope >= 0
        direction = torch.where(uphill[:, None], -gradient, direction)
        slope = torch.where(uphill, -(gradient**2).sum(1), slope)
        length = torch.ones_like(value)
        if not pairs:  # no curvature yet: at most a unit step
            length = (1 / gradient.abs().sum(1).clamp_min(1e-30)).clamp_max(1)
        length = torch.where(done, 0.0, length)
        for _ in range(HALVINGS):
            trial = point + length[:, None] * direction
            trial_value, trial_gradient = evaluate(trial)
            accepted = trial_value <= value + ARMIJO * length * slope
            if (accepted | done).all():
                break
            length = torch.where(accepted, length, length / 2)
        moved = (accepted & ~done)[:, None]
        s = torch.where(moved, trial - point, 0.0)
        y = torch.where(moved, trial_gradient - gradient, 0.0)
        curvature = (s * y).sum(1)
        useful = curvature > 1e-12 * (y * y).sum(1)
        rho = torch.where(useful, 1 / torch.where(useful, curvature, 1.0), 0.0)
        # a row that found no way down starts again from the gradient
        pairs = [
            (a, b, torch.where(moved[:, 0] | done, r, 0.0)) for a, b, r in pairs[-history + 1 :]
        ] + [(s, y, rho)]
        gain = torch.where(moved[:, 0], value - trial_value, 0.0)
        stale = torch.where(gain > LEAST_GAIN * value, 0.0, stale + 1)
        point = torch.where(moved, trial, point)
        value = torch.where(moved[:, 0], trial_value, value)
        gradient = torch.where(moved, trial_gradient, gradient)
        if progress is not None:
            progress(step, steps)
    found[alive], objective[alive] = point, value
    return Found(unpack(found), objective, step, time.perf_counter() - begun)


def _inverse_hessian(gradient: Tensor, pairs: list[tuple[Tensor, Tensor, Tensor]]) -> Tensor:
    """The two-loop recursion; a pair with rho 0 is skipped by that row."""
    q = gradient
    alphas = []
    for s, y, rho in reversed(pairs):
        alpha = rho * (s * q).sum(1)
        q = q - alpha[:, None] * y
        alphas.append(alpha)
    scale = torch.ones_like(gradient[:, 0])
    for s, y, rho in pairs:  # the newest useful pair of each row sets the scale
        scale = torch.where(rho > 0, (s * y).sum(1) / (y * y).sum(1).clamp_min(1e-300), scale)
    q = scale[:, None] * q
    for (s, y, rho), alpha in zip(pairs, reversed(alphas), strict=True):
        q = q + (alpha - rho * (y * q).sum(1))[:, None] * s
    return q
