"""iDLG (Zhao et al. 2020): the label read off the head's gradient, then the image as in DLG."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from attacks.methods._answers import Reconstruction
from attacks.methods._attack import EVERY_LAYER, Attack, Settled
from attacks.methods._labels import from_head_gradient
from attacks.methods._matching import gradient_of, squared_distance
from attacks.methods._replica import Replica, Tensors
from attacks.methods.dlg import DEFAULTS, effort, search, standard_normal
from attacks.observation import Case


def reconstruct(cases: Sequence[Case], settings: Settled) -> Reconstruction:
    replica = Replica(cases, settings.restarts, dtype=settings.dtype, device=settings.device)
    replica.labels = labels = from_head_gradient(replica)

    def distance(copies: Replica, variables: Tensors) -> Tensor:
        return squared_distance(gradient_of(copies, variables), copies.target)

    start = {"image": standard_normal(replica, settings.generator())}
    return search(distance, replica, start, cases, settings, labels[:: settings.restarts])


ATTACK = Attack(
    "idlg",
    "iDLG, on every layer",
    "Zhao et al. 2020, iDLG: Improved Deep Leakage from Gradients",
    frozenset({"full_update", "batch_size"}),
    Reconstruction,
    reconstruct,
    DEFAULTS,
    cells=(EVERY_LAYER,),
    product=("fedavg",),
    effort=effort,
)
