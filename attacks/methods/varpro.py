"""VarPro: least squares eliminate FLOP's private head, so that nothing about it must be known.

Head, label and loss enter a shared gradient only through v = dL/d(feature), and linearly: g = Jᵀ v,
with J the Jacobian of the features by the shared parameters. For a trial image the best v is a
linear least-squares problem, solved by conjugate gradients; what remains is the residual as a
function of the image alone (variable projection, Golub and Pereyra 1973). With v* fixed its
derivative is exact (envelope theorem). A batch, a cohort's sum or several heads change nothing: v
has one row an image.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from attacks.methods._answers import Reconstruction
from attacks.methods._attack import AS_HOSPITALS_DO, Attack, Finding, Load, Settled
from attacks.methods._descent import Found, choose, descend, dot, total_variation
from attacks.methods._lbfgs import minimise
from attacks.methods._matching import squared_distance
from attacks.methods._replica import Replica, Tensors
from attacks.observation import Case

CG_STEPS = 5  # of a warm start: v goes on from where the last image left it
RIDGE = 1e-6  # relative to the mean curvature: keeps null directions of J out of v
POLISHED = 1_000_000  # parameters: above this a step in float64 costs more than it has ever brought


class Projection:
    """J and Jᵀ at one image per copy, without ever forming J: a VJP, and the VJP of that VJP."""

    def __init__(self, replica: Replica, image: Tensor) -> None:
        self.features = replica.features(image)
        self.weights = list(replica.shared.values())
        self.names = list(replica.shared)
        self.probe = torch.zeros_like(self.features, requires_grad=True)
        self._pulled = self.pull(self.probe, differentiable=True)

    def pull(self, v: Tensor, differentiable: bool = False) -> Tensors:
        """Jᵀ v: (N, B, d) to the shared parameters' shapes."""
        found = torch.autograd.grad(
            self.features,
            self.weights,
            v,
            create_graph=differentiable,
            retain_graph=True,
            materialize_grads=True,
        )
        return dict(zip(self.names, found, strict=True))

    def push(self, direction: Tensors) -> Tensor:
        """J w: directions in the shared parameters to (N, B, d). Jᵀ is linear, so its derivative by
        v is J.
        """
        pulled = [value for value in self._pulled.values() if value.requires_grad]
        along = [direction[name] for name, value in self._pulled.items() if value.requires_grad]
        return torch.autograd.grad(pulled, self.probe, along, retain_graph=True)[0]

    def solve(self, target: Tensors, steps: int = CG_STEPS, start: Tensor | None = None) -> Tensor:
        """argmin over v of |Jᵀ v − g|² + ridge, per copy, by conjugate gradients on (J Jᵀ + ρ) v =
        J g.
        """
        right = self.push(target)
        norm = rowdot(right, right).clamp_min(1e-30)
        curvature = dot(*(2 * [self.pull(right)])) / norm
        ridge = RIDGE * curvature

        def apply(v: Tensor) -> Tensor:
            return self.push(self.pull(v)) + expand(ridge, v) * v

        return conjugate_gradients(apply, right, steps, start)


def conjugate_gradients(
    apply: Callable[[Tensor], Tensor], right: Tensor, steps: int, start: Tensor | None
) -> Tensor:
    """`steps` iterations for each row's own positive definite system; rows (N, ...) never mix."""
    solution = torch.zeros_like(right) if start is None else start
    residual = right if start is None else right - apply(start)
    direction, size = residual, rowdot(residual, residual)
    for _ in range(steps):
        image = apply(direction)
        alpha = size / rowdot(direction, image).clamp_min(1e-30)
        solution = solution + expand(alpha, direction) * direction
        residual = residual - expand(alpha, image) * image
        smaller = rowdot(residual, residual)
        direction = residual + expand(smaller / size.clamp_min(1e-30), direction) * direction
        size = smaller
    return solution


def rowdot(a: Tensor, b: Tensor) -> Tensor:
    return (a * b).flatten(1).sum(1)


def expand(values: Tensor, like: Tensor) -> Tensor:
    return values.view(-1, *[1] * (like.dim() - 1))


def relative_residual(replica: Replica, image: Tensor, steps: int = CG_STEPS) -> Tensor:
    """(N,) |Jᵀ v* − g|² / |g|², differentiable by the image with v* held fixed."""
    projection = Projection(replica, image)
    v = projection.solve(replica.target, steps, replica.carried.get("v")).detach()
    replica.carried["v"] = v
    pulled = projection.pull(v, differentiable=True)
    return squared_distance(pulled, replica.target)


def polish(cases: Sequence[Case], image: Tensor, steps: int, settings: Settled) -> Found:
    """L-BFGS in float64 on image and cotangent together, from where the projection has come.

    Near the solution the projection's conjugate gradients are what takes time; here a step costs
    one differentiated VJP. On networks with kinks it ends at once and changes nothing.
    """
    exact = Replica(cases, dtype=torch.float64, device=settings.device, at=_where(cases))
    image = image.to(torch.float64)
    v = Projection(exact, image).solve(exact.target, 100).detach()
    # image and v of one size, or L-BFGS starts lopsided
    scale = expand(v.flatten(1).abs().mean(1).clamp_min(1e-30), v)
    exact.carried["scale"] = scale

    def residual(copies: Replica, variables: Tensors) -> Tensor:
        features = copies.features(variables["image"])
        weights = list(copies.shared.values())
        pulled = torch.autograd.grad(
            features,
            weights,
            variables["v"] * copies.carried["scale"],
            create_graph=True,
            materialize_grads=True,
        )
        return squared_distance(dict(zip(copies.shared, pulled, strict=True)), copies.target)

    start = {"image": image, "v": v / scale}
    return minimise(
        residual, exact, start, steps=steps, tolerance=1e-11, progress=settings.progress
    )


def _where(cases: Sequence[Case]) -> str:
    return "middle" if (cases[0].knowledge.local_steps or 1) > 1 else "start"


def reconstruct(cases: Sequence[Case], settings: Settled) -> Reconstruction:
    replica = Replica(
        cases, settings.restarts, dtype=settings.dtype, device=settings.device, at=_where(cases)
    )

    def objective(copies: Replica, variables: Tensors) -> tuple[Tensor, Tensor]:
        match = relative_residual(copies, variables["image"])
        return match, match + settings.tv * total_variation(variables["image"])

    found = descend(
        objective, replica, {"image": replica.random_images(settings.generator())}, settings
    )
    image = choose(found.variables["image"], found.objective, len(cases))
    if sum(value[0].numel() for value in replica.shared.values()) <= POLISHED:
        fine = polish(cases, image, 2 * settings.steps, settings)
    else:
        fine = Found({"image": image}, choose(found.objective, found.objective, len(cases)), 0, 0.0)
    # no labels: the head's rows may be permuted, so a label's index cannot be known
    return Reconstruction(
        steps=found.steps + fine.steps,
        seconds=found.seconds + fine.seconds,
        images=fine.variables["image"].clamp(0, 1).cpu().numpy(),
        objective=fine.objective.cpu().numpy(),
    )


def effort(load: Load) -> int:
    """With ReLUs the polish in float64 brings nothing, so more steps are worth their time."""
    return 1 if load.smooth or load.batch > 1 else 4


ATTACK = Attack(
    "varpro",
    "adaptive: needs neither head nor label (VarPro)",
    "this project, after Golub and Pereyra 1973",
    frozenset({"update", "batch_size"}),
    Reconstruction,
    reconstruct,
    Settled(steps=400, restarts=4, tv=1e-4, tolerance=1e-6),
    cells_per_model=({}, AS_HOSPITALS_DO),
    product=("flop", "fedavg"),
    effort=effort,
    finding=Finding(
        "FLOP alone, without a protection: the adaptive attack reaches {psnr_median:.0f} dB knowing"
        " neither head nor label (best guess without an update: {control_psnr:.0f} dB).",
        where={"algorithm": "flop", "protection": "plain"},
        least=0.5,
    ),
)
