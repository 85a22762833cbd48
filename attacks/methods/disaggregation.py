"""All images of a sum, from a shared Linear layer before a ReLU (SPEAR, Dimitrov et al. 2024).

The layer's gradient is taken apart into the images' layer inputs (`_separation`), and a linear
decoder that was fitted on public images turns these into pixels (`_decoder`). Neither head, labels,
loss nor learning rate is needed: the ratio of the weight's and the bias' gradient has none of them.
A sum over hospitals is a larger batch, so the attack reads masked sums as well.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Sequence

import numpy as np
import torch
from torch import nn

from attacks.methods import _decoder
from attacks.methods._answers import Reconstruction
from attacks.methods._attack import Attack, Settled
from attacks.methods._replica import build, class_count, set_mode
from attacks.methods._separation import Array, separate
from attacks.observation import Case, MissingKnowledge, Observation, known
from learning.training import INPUT_MEAN, INPUT_STD

AT_ONCE = 256
"""Public images in one forward pass."""
EVEN = 0.02
"""An update is quantised if every element is a whole multiple of the smallest one, up to this."""


def reconstruct(cases: Sequence[Case], settings: Settled) -> Reconstruction:
    """Reconstruct every image of every case.

    `objective` is the certificate of the separation: below `_separation.CERTAIN` it is right, 1 if
    there is none. Where there is none, the answer is the mean of the public images, which is what
    the attacker knew before.
    """
    begun = time.perf_counter()
    images, certificates, starts = [], [], 0
    for at, case in enumerate(cases):
        public = known(case.knowledge.public, "public")
        generator = np.random.default_rng([settings.seed, at])
        found, certificate, tried = _one(case, public, settings.steps, generator)
        images.append(found)
        certificates.append(certificate)
        starts += tried
        if settings.progress is not None:
            settings.progress(at + 1, len(cases))
    return Reconstruction(
        steps=starts,
        seconds=time.perf_counter() - begun,
        images=np.stack(images),
        objective=np.array(certificates),
    )


def _one(
    case: Case, public: np.ndarray, batches: int, generator: np.random.Generator
) -> tuple[np.ndarray, float, int]:
    """The images (B, C, H, W) of one case, the certificate, and the starting directions tried."""
    seen = case.observation
    net = _network(case)
    shape = (case.images, *public.shape[1:])
    best: tuple[float, str, Array] | None = None
    tried = 0
    for layer in layers(net, seen):
        weight, bias = f"{layer}.weight", f"{layer}.bias"
        separation = separate(
            -seen.readable[weight].astype(np.float64),
            -seen.readable[bias].astype(np.float64),
            seen.shared_before[weight].astype(np.float64),
            seen.shared_before[bias].astype(np.float64),
            noise=noise_of(seen, weight),
            generator=generator,
            images=case.images,
            batches=batches,
        )
        if separation is None:
            continue
        tried += separation.starts
        if best is None or separation.violation < best[0]:
            best = separation.violation, layer, separation.inputs
        if separation.certain:
            break
    if best is None:
        return np.broadcast_to(public.mean(0), shape).copy(), 1.0, tried
    certificate, layer, inputs = best
    pixels = public.reshape(len(public), -1).astype(np.float64)
    decode = _decoder.fit(_features(net, layer, public), pixels)
    return decode(inputs).reshape(shape), certificate, tried


def layers(net: nn.Module, seen: Observation) -> list[str]:
    """The shared linear layers with bias before a ReLU, the nearest to the image first.

    Raises:
        MissingKnowledge: If the model shares none.
    """
    found = []
    for prefix, parent in net.named_modules():
        if not isinstance(parent, nn.Sequential):
            continue
        children = list(parent.named_children())
        for (name, first), (_, second) in itertools.pairwise(children):
            full = f"{prefix}.{name}" if prefix else name
            shared = {f"{full}.weight", f"{full}.bias"} <= set(seen.shared_before)
            if isinstance(first, nn.Linear) and isinstance(second, nn.ReLU) and shared:
                found.append(full)
    if not found:
        raise MissingKnowledge(
            "attack disaggregation needs a shared linear layer with bias before a ReLU;"
            f" {seen.model} shares none here"
        )
    return found


def noise_of(seen: Observation, name: str) -> float:
    """Standard deviation of the error in one element of the update of `name`.

    The step of the quantiser if the update is quantised (each of the summed hospitals rounds at
    random, an error of variance step²/6), the rounding of float32 weights otherwise.
    """
    update = np.abs(seen.readable[name].astype(np.float64))
    moved = update[update > 0]
    if not len(moved):
        return 0.0
    step = float(moved.min())
    multiples = moved / step
    if np.abs(multiples - np.round(multiples)).max() < EVEN:
        return step * float(np.sqrt(seen.summed / 6))
    spacing = np.spacing(np.abs(seen.shared_before[name]).astype(np.float32)).astype(np.float64)
    return float(np.sqrt((spacing**2).mean() / 6))


def _network(case: Case) -> nn.Module:
    """The observed network at rest. Private layers are placeholders: no feature depends on them."""
    net = build(case, class_count(case))
    seen = case.observation
    known_values = {**seen.shared_before, **seen.buffers_before}
    state = {name: torch.from_numpy(np.array(value)) for name, value in known_values.items()}
    net.load_state_dict({**net.state_dict(), **state})
    set_mode(net, "eval")
    return net


def _features(net: nn.Module, layer: str, images: np.ndarray) -> Array:
    """What enters `layer` for these images (n, C, H, W) in [0, 1]: n x inputs."""
    rows: list[np.ndarray] = []
    module = net.get_submodule(layer)
    hook = module.register_forward_pre_hook(lambda _, given: rows.append(given[0].numpy().copy()))
    try:
        with torch.no_grad():
            for at in range(0, len(images), AT_ONCE):
                part = torch.from_numpy(images[at : at + AT_ONCE]).float()
                net((part - INPUT_MEAN) / INPUT_STD)
    finally:
        hook.remove()
    return np.concatenate(rows).astype(np.float64)


ATTACK = Attack(
    "disaggregation",
    "a sum taken apart, shared Linear+ReLU",
    "Dimitrov et al. 2024, SPEAR: Exact Gradient Inversion of Batches",
    frozenset({"update", "batch_size", "public"}),
    Reconstruction,
    reconstruct,
    Settled(steps=40),
    cells=(),
)
