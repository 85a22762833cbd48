"""The closed form for a shared linear layer with bias: its input is a ratio of two gradients (Phong
et al. 2018).

For y = W a + b and one image, row i of the weight's gradient is (dL/dy_i) a and the bias' is
dL/dy_i: their ratio is the layer's input, whatever comes after. With several images it is their
mix. Where the input is not the image itself, the image is then searched for whose features it is.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from attacks.methods._attack import Attack, Reconstruction, Settings
from attacks.methods._descent import choose, descend, total_variation
from attacks.methods._replica import Replica, Tensors, build, class_count
from attacks.observation import Case, MissingKnowledge, Observation


def layer_inputs(seen: Observation, layer: str) -> np.ndarray:
    """The input (d,) of the linear layer of that name, from the row whose bias moved most. Exact
    for one image and step.
    """
    weight, bias = seen.update[f"{layer}.weight"], seen.update[f"{layer}.bias"]
    row = np.abs(bias).argmax()
    return weight[row] / bias[row] if bias[row] else np.zeros_like(weight[row])


def reconstruct(cases: Sequence[Case], settings: Settings) -> Reconstruction:
    begun = time.perf_counter()
    settings = settings.over(
        steps=500, restarts=2, lr=0.05, tv=1e-3, tolerance=1e-9, dtype=torch.float32
    )
    net = build(cases[0], class_count(cases[0]))
    layer = first_shared_linear(net, cases[0].observation)
    features = np.stack([layer_inputs(seen, layer) for seen, _ in cases])
    seen = cases[0].observation
    if features[0].size == seen.channels * seen.image_size**2:
        images = np.clip(features, 0, 1).reshape(
            len(cases), 1, seen.channels, seen.image_size, seen.image_size
        )
        return Reconstruction(
            images, features=features[:, None], steps=1, seconds=time.perf_counter() - begun
        )

    replica = Replica(cases, settings.restarts, dtype=settings.dtype, device=settings.device)
    module = replica.model.get_submodule(layer)
    wanted = (
        torch.from_numpy(features)
        .to(replica.device, replica.dtype)
        .repeat_interleave(settings.restarts, 0)
    )
    replica.memory["features"] = wanted

    def objective(copies: Replica, variables: Tensors) -> tuple[Tensor, Tensor]:
        found = copies.inputs_of([module], variables["image"])[0].flatten(2).mean(1)
        distance = relative_gap(found, copies.memory["features"])
        return distance, distance + settings.tv * total_variation(variables["image"])

    found = descend(
        objective, replica, {"image": replica.random_images(settings.generator())}, settings
    )
    return Reconstruction(
        choose(found.variables["image"], found.objective, len(cases)).cpu().numpy(),
        features=features[:, None],
        objective=choose(found.objective, found.objective, len(cases)).cpu().numpy(),
        steps=found.steps,
        seconds=time.perf_counter() - begun,
    )


def first_shared_linear(net: nn.Module, seen: Observation) -> str:
    """The name of the first linear layer whose weight and bias were both seen: the nearest to the
    image.

    Raises MissingKnowledge where the model shares none (DLG's LeNet under FLOP).
    """
    for name, module in net.named_modules():
        if isinstance(module, nn.Linear) and {f"{name}.weight", f"{name}.bias"} <= set(seen.update):
            return name
    raise MissingKnowledge(
        f"attack closed_form needs a shared linear layer with bias; {seen.model} shares none here"
    )


def relative_gap(found: Tensor, wanted: Tensor) -> Tensor:
    return ((found - wanted) ** 2).sum(1) / (wanted**2).sum(1).clamp_min(1e-30)


ATTACK = Attack(
    "closed_form", "Phong et al. 2018", frozenset({"update", "batch_size"}), reconstruct
)
