"""Labels from the gradient of the head, where the head is shared.

With cross-entropy, row c of the head's weight gradient is sum over images of (p_c − 1[label = c]) ·
feature. Features behind ReLU or sigmoid are not negative, so a row's sum is negative only where its
class is present (iDLG: Zhao et al. 2020; batches: Wainakh et al. 2022).
"""

from __future__ import annotations

import torch
from torch import Tensor

from attacks.methods._replica import Replica


def from_head_gradient(replica: Replica, images: int | None = None) -> Tensor:
    """(N, B) labels, with repetition, in no meaningful order; by the head's gradient in
    `replica.target`.

    For one image the class of the most negative row. For more, the classes are taken one at a time:
    the most negative row, from which one image's share of the total negative mass is then removed.
    """
    images = images or replica.images
    rows = replica.target["head.weight"].flatten(2).sum(2)
    if images == 1:
        return rows.argmin(1, keepdim=True)
    share = rows.clamp_max(0).sum(1, keepdim=True) / images
    # a class is present where its row is negative: those come first, whatever their size
    left, found = rows.clone(), []
    for _ in range(images):
        label = left.argmin(1, keepdim=True)
        found.append(label)
        left = left.scatter_add(1, label, -share)
    return torch.cat(found, dim=1)
