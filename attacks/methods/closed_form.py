"""The closed form for a shared linear layer with bias (Phong et al. 2018).

For y = W a + b and one image, row i of the weight's gradient is (dL/dy_i) a and the bias' is
dL/dy_i: their ratio is the layer's input, whatever comes after. With several images it is their
mix. If the layer's input is not the image itself, a search for the image with these features
follows.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from attacks.methods._answers import Reconstruction
from attacks.methods._attack import EVERY_LAYER, Attack, Settled
from attacks.methods._descent import choose, descend, total_variation
from attacks.methods._replica import Replica, Tensors, build, class_count
from attacks.observation import Case, MissingKnowledge, Observation


def layer_inputs(seen: Observation, layer: str) -> np.ndarray:
    """The input (d,) of a linear layer, by the row whose bias moved most; exact for one image."""
    weight, bias = seen.readable[f"{layer}.weight"], seen.readable[f"{layer}.bias"]
    row = np.abs(bias).argmax()
    return weight[row] / bias[row] if bias[row] else np.zeros_like(weight[row])


def reconstruct(cases: Sequence[Case], settings: Settled) -> Reconstruction:
    begun = time.perf_counter()
    net = build(cases[0], class_count(cases[0]))
    layer = first_shared_linear(net, cases[0].observation)
    features = np.stack([layer_inputs(seen, layer) for seen, _ in cases])
    seen = cases[0].observation
    if features[0].size == seen.channels * seen.image_size**2:
        images = np.clip(features, 0, 1).reshape(
            len(cases), 1, seen.channels, seen.image_size, seen.image_size
        )
        return Reconstruction(steps=1, seconds=time.perf_counter() - begun, images=images)

    replica = Replica(cases, settings.restarts, dtype=settings.dtype, device=settings.device)
    module = replica.model.get_submodule(layer)
    wanted = (
        torch.from_numpy(features)
        .to(replica.device, replica.dtype)
        .repeat_interleave(settings.restarts, 0)
    )
    replica.carried["features"] = wanted

    def objective(copies: Replica, variables: Tensors) -> tuple[Tensor, Tensor]:
        found = copies.inputs_of([module], variables["image"])[0].flatten(2).mean(1)
        distance = relative_gap(found, copies.carried["features"])
        return distance, distance + settings.tv * total_variation(variables["image"])

    found = descend(
        objective, replica, {"image": replica.random_images(settings.generator())}, settings
    )
    return Reconstruction(
        steps=found.steps,
        seconds=time.perf_counter() - begun,
        images=choose(found.variables["image"], found.objective, len(cases)).cpu().numpy(),
        objective=choose(found.objective, found.objective, len(cases)).cpu().numpy(),
    )


def first_shared_linear(net: nn.Module, seen: Observation) -> str:
    """The name of the first linear layer whose weight and bias were seen: the nearest to the image.

    Raises MissingKnowledge if the model shares none (DLG's LeNet under FLOP).
    """
    for name, module in net.named_modules():
        if isinstance(module, nn.Linear) and {f"{name}.weight", f"{name}.bias"} <= set(
            seen.readable
        ):
            return str(name)
    raise MissingKnowledge(
        f"attack closed_form needs a shared linear layer with bias; {seen.model} shares none here"
    )


def relative_gap(found: Tensor, wanted: Tensor) -> Tensor:
    return ((found - wanted) ** 2).sum(1) / (wanted**2).sum(1).clamp_min(1e-30)


ATTACK = Attack(
    "closed_form",
    "closed form, of a shared linear layer",
    "Phong et al. 2018, Privacy-Preserving Deep Learning",
    frozenset({"update", "batch_size"}),
    Reconstruction,
    reconstruct,
    Settled(steps=500, restarts=2, tv=1e-3),
    cells=(EVERY_LAYER,),
    product=("fedavg",),
)
