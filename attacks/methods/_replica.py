"""The attacker's copies of the hospitals' network: cases x restarts of them, computed as one batch.

Every copy has its own parameters (a leading axis N), so one backward pass gives every copy's own
gradient: the forward pass alone runs under `torch.func.vmap`, and all derivatives are plain
autograd. Copies are case-major: copy `case * restarts + restart`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap

from attacks.observation import Case
from learning import models
from learning.randomness import seeded
from learning.training import INPUT_MEAN, INPUT_STD

Tensors = dict[str, Tensor]
UNKNOWN_CLASSES = 2  # a placeholder head has this many; nothing upstream of the cut depends on it


class Replica:
    """N copies. `shared` (N, ...) are the observed parameters, leaves that require gradients;
    `buffers` (N, ...).

    `target` (N, ...) estimates the gradient behind the update: −update / (lr · steps · summed)
    where learning rate and steps are known, otherwise −update, right up to scale. `at` "middle"
    takes the parameters half-way through the local steps (before + mean update / 2), where the mean
    gradient of several steps is best approximated by one.
    """

    def __init__(
        self,
        cases: Sequence[Case],
        restarts: int = 1,
        *,
        dtype: torch.dtype = torch.float32,
        device: str = "cpu",
        at: str = "start",
    ) -> None:
        seen, known = cases[0]
        self.cases, self.restarts = len(cases), restarts
        self.images, self.channels, self.size = cases[0].images, seen.channels, seen.image_size
        self.dtype, self.device = dtype, device
        self.classes = class_count(cases[0])
        self.fresh = lambda: build(cases[0], self.classes)
        self.model = self.fresh()
        set_mode(self.model, known.mode)

        def stack(arrays: Sequence[np.ndarray]) -> Tensor:
            rows = torch.from_numpy(np.stack(arrays)).to(device, dtype)
            return rows.repeat_interleave(restarts, dim=0)

        half = 0.5 if at == "middle" else 0.0
        parameters = [
            name for name, _ in self.model.named_parameters() if name in seen.shared_before
        ]
        self.shared: Tensors = {
            name: stack(
                [c.shared_before[name] + half / c.summed * c.update[name] for c, _ in cases]
            )
            for name in parameters
        }
        self.target: Tensors = {
            name: stack([_gradient(case, name) for case in cases]) for name in parameters
        }
        self.buffers: Tensors = {}
        for name, value in self.model.named_buffers():
            known_value = seen.buffers_before.get(name)
            if known_value is None:
                self.buffers[name] = value.expand(self.count, *value.shape).to(device).clone()
            else:
                self.buffers[name] = stack([c.buffers_before[name] for c, _ in cases])
        self.head: Tensors = {}
        if known.head is not None:
            self.head = {
                name: stack([k.head[name] for _, k in cases])
                for name in sorted(seen.private)
                if name in known.head
            }
        self._placeholder = {
            name: value.detach().to(device, dtype)
            for name, value in self.model.named_parameters()
            if name not in self.shared
        }
        self.model.to(device, dtype)
        self.memory: Tensors = {}  # what an attack carries from step to step, (N, ...)
        self._cut: nn.Module | None = None
        for value in self.shared.values():
            value.requires_grad_()

    @property
    def count(self) -> int:
        return self.cases * self.restarts

    def rows(self, keep: Tensor) -> Replica:
        """The copies of these indices alone; what the others would have cost is saved."""
        part = object.__new__(Replica)
        part.__dict__.update(self.__dict__)
        part.cases, part.restarts = len(keep), 1
        for field in ("shared", "target", "buffers", "head", "memory"):
            values = {name: value.detach()[keep] for name, value in getattr(self, field).items()}
            setattr(part, field, values)
        for value in part.shared.values():
            value.requires_grad_()
        return part

    def logits(self, x: Tensor, parameters: Mapping[str, Tensor]) -> Tensor:
        """(N, B, C, H, W) images in [0, 1] to (N, B, classes), with all of the model's parameters
        (N, ...) given.
        """
        return self._forward(self._call, parameters, x)

    def features(self, x: Tensor) -> Tensor:
        """(N, B, C, H, W) images in [0, 1] to (N, B, d): what enters the first layer that the
        hospital keeps.

        Where the hospital keeps none, what enters the model's head. Needs no head: a placeholder
        runs behind the cut.
        """
        if self._cut is None:
            example = torch.zeros(
                2, self.channels, self.size, self.size, device=self.device, dtype=self.dtype
            )
            self._cut = first_private(self.model, set(self.shared), example)
        return self.inputs_of([self._cut], x)[0].flatten(2)

    def inputs_of(self, modules: Sequence[nn.Module], x: Tensor) -> list[Tensor]:
        """What enters each of these modules of `self.model`, (N, B, ...), for images in [0, 1]."""

        def call(weights: Tensors, buffers: Tensors, inputs: Tensor) -> tuple[Tensor, ...]:
            seen: dict[nn.Module, Tensor] = {}
            hooks = [
                m.register_forward_pre_hook(lambda m, arguments: seen.update({m: arguments[0]}))
                for m in modules
            ]
            try:
                self._call({**self._placeholder, **weights}, buffers, inputs)
            finally:
                for hook in hooks:
                    hook.remove()
            return tuple(seen[m] for m in modules)

        return list(self._forward(call, self.shared, x))

    def gradients(
        self, x: Tensor, targets: Tensor, head: Mapping[str, Tensor] | None = None
    ) -> Tensors:
        """Each copy's gradient of the mean cross-entropy over its images, for the shared
        parameters, differentiable.

        `targets` (N, B) are class indices or (N, B, classes) probabilities; `head` (N, ...) stands
        in for private layers.
        """
        loss = self.loss(x, targets, {**self.shared, **(head or {})})
        found = torch.autograd.grad(loss.sum(), list(self.shared.values()), create_graph=True)
        return dict(zip(self.shared, found, strict=True))

    def loss(self, x: Tensor, targets: Tensor, parameters: Mapping[str, Tensor]) -> Tensor:
        """(N,) mean cross-entropy of each copy."""
        logs = self.logits(x, parameters).log_softmax(-1)
        if targets.dtype == torch.int64:
            return -logs.gather(-1, targets[..., None]).squeeze(-1).mean(-1)
        return -(targets * logs).sum(-1).mean(-1)

    def random_images(self, generator: torch.Generator) -> Tensor:
        """Starts for the search, (N, B, C, H, W): noise around mid-grey, inside the box."""
        shape = (self.count, self.images, self.channels, self.size, self.size)
        noise = torch.randn(shape, generator=generator)
        return (0.5 + 0.1 * noise).clamp(0, 1).to(self.device, self.dtype)

    def random_head(self, generator: torch.Generator) -> Tensors:
        """A freshly initialised head per copy, in place of the private one that nobody saw."""
        heads = []
        for _ in range(self.count):
            with seeded(int(torch.randint(2**31, (), generator=generator))):
                fresh = dict(self.fresh().named_parameters())
            heads.append({name: fresh[name].detach() for name in self._placeholder})
        return {
            name: torch.stack([h[name] for h in heads]).to(self.device, self.dtype)
            for name in self._placeholder
        }

    def _forward(
        self, call: Callable, weights: Mapping[str, Tensor], x: Tensor
    ) -> Tensor | tuple[Tensor, ...]:
        # BatchNorm in train mode writes its running statistics: into a copy that is thrown away
        buffers = {name: value.clone() for name, value in self.buffers.items()}
        return vmap(call, randomness="different")(
            dict(weights), buffers, (x - INPUT_MEAN) / INPUT_STD
        )

    def _call(
        self, weights: Mapping[str, Tensor], buffers: Mapping[str, Tensor], inputs: Tensor
    ) -> Tensor:
        return functional_call(self.model, {**weights, **buffers}, (inputs,))


def build(case: Case, classes: int) -> nn.Module:
    """The agreed architecture, by name; its parameters are fresh."""
    seen = case.observation
    return models.build(
        seen.model, channels=seen.channels, image_size=seen.image_size, classes=classes
    )


def class_count(case: Case) -> int:
    """How many classes the attacker's copy has: as many as the observed head, else as declared,
    else a placeholder.
    """
    bias = case.observation.shared_before.get("head.bias")
    return len(bias) if bias is not None else case.knowledge.classes or UNKNOWN_CLASSES


def set_mode(model: nn.Module, mode: str) -> None:
    """BatchNorm as the hospital ran it ("train": the batch's own statistics); dropout is off, its
    coins are unknown.
    """
    model.eval()
    if mode == "train":
        for module in model.modules():
            if isinstance(module, nn.modules.batchnorm._BatchNorm):
                module.train()


def first_private(model: nn.Module, shared: set[str], example: Tensor) -> nn.Module:
    """The layer where the shared part ends: the first to run, of those that own parameters outside
    `shared`.

    Where all is shared, the model's head.
    """
    owners = [
        m
        for name, m in model.named_modules()
        if any(
            f"{name}.{field}".lstrip(".") not in shared
            for field, _ in m.named_parameters(recurse=False)
        )
    ]
    order: list[nn.Module] = []
    hooks = [
        m.register_forward_pre_hook(lambda module, _: order.append(module))
        for m in owners or [model.head]
    ]
    with torch.no_grad():
        model(example)
    for hook in hooks:
        hook.remove()
    return order[0]


def _gradient(case: Case, name: str) -> np.ndarray:
    """The mean gradient that an SGD update stands for, up to scale where learning rate or steps are
    unknown.
    """
    known = case.knowledge
    scale = (known.learning_rate or 1.0) * (known.local_steps or 1) * case.observation.summed
    return -case.observation.update[name] / scale
