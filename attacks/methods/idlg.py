"""iDLG (Zhao et al. 2020): the label read off the head's gradient, then the image as in DLG."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from attacks.methods._attack import Attack, Reconstruction, Settings
from attacks.methods._labels import from_head_gradient
from attacks.methods._matching import squared_distance
from attacks.methods._replica import Replica, Tensors
from attacks.methods.dlg import filled, search, standard_normal
from attacks.observation import Case


def reconstruct(cases: Sequence[Case], settings: Settings) -> Reconstruction:
    settings = filled(settings)
    replica = Replica(cases, settings.restarts, dtype=settings.dtype, device=settings.device)
    replica.memory["labels"] = labels = from_head_gradient(replica)

    def distance(copies: Replica, variables: Tensors) -> Tensor:
        return squared_distance(
            copies.gradients(variables["image"], copies.memory["labels"]), copies.target
        )

    start = {"image": standard_normal(replica, settings.generator())}
    return search(distance, replica, start, cases, settings, labels[:: settings.restarts])


ATTACK = Attack("idlg", "Zhao et al. 2020", frozenset({"full_update", "batch_size"}), reconstruct)
