"""The attacker's copies of the hospitals' network: cases x restarts of them, computed as one batch.

Every copy has its own parameters (a leading axis N), so one backward pass gives every copy's own
gradient: the forward pass alone runs under `torch.func.vmap`, and all derivatives are plain
autograd. Copies are case-major: copy `case * restarts + restart`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap

from attacks.observation import Case
from learning import models
from learning.models.classifier import Classifier
from learning.randomness import seeded
from learning.training import INPUT_MEAN, INPUT_STD

Tensors = dict[str, Tensor]
Forwarded = TypeVar("Forwarded", Tensor, tuple[Tensor, ...])
UNKNOWN_CLASSES = 2  # a placeholder head has this many; nothing upstream of the cut depends on it


class Replica:
    """N copies of the network, at what the coordinator knows of it.

    `at` "middle" takes the parameters half-way through the local steps (before + mean update / 2),
    where one gradient approximates the mean gradient of several steps best.

    Attributes:
        shared: (N, ...) the observed parameters, leaves that require gradients.
        buffers: (N, ...) BatchNorm's running statistics.
        target: (N, ...) the gradient behind the update: −update / (lr · steps · summed) if learning
            rate and steps are known, otherwise −update, which is right up to its scale.
        head: (N, ...) private layers that the attacker holds or guesses.
        labels: (N, B) class indices that the attack has fixed; None if it searches for them or does
            without.
        carried: (N, ...) what one attack keeps for each copy from step to step.
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
        self._case = cases[0]
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
                [c.shared_before[name] + half / c.summed * c.readable[name] for c, _ in cases]
            )
            for name in parameters
        }
        self.target: Tensors = {
            name: stack([_gradient(case, name) for case in cases]) for name in parameters
        }
        self.buffers: Tensors = {}
        for name, value in self.model.named_buffers():
            if name not in seen.buffers_before:
                self.buffers[name] = value.expand(self.count, *value.shape).to(device).clone()
            else:
                self.buffers[name] = stack([c.buffers_before[name] for c, _ in cases])
        self.head: Tensors = {}
        if known.head is not None:
            self.head = {
                name: stack([k.head[name] for _, k in cases if k.head is not None])
                for name in sorted(seen.private)
                if name in known.head
            }
        self._placeholder = {
            name: value.detach().to(device, dtype)
            for name, value in self.model.named_parameters()
            if name not in self.shared
        }
        self.model.to(device, dtype)
        self.labels: Tensor | None = None
        self.carried: Tensors = {}
        self._cut: nn.Module | None = None
        for value in self.shared.values():
            value.requires_grad_()

    @property
    def count(self) -> int:
        return self.cases * self.restarts

    def rows(self, keep: Tensor) -> Replica:
        """Return the copies of these indices alone, so that the others cost nothing more."""
        part = object.__new__(Replica)
        part.__dict__.update(self.__dict__)
        part.cases, part.restarts = len(keep), 1
        for field in ("shared", "target", "buffers", "head", "carried"):
            values = {name: value.detach()[keep] for name, value in getattr(self, field).items()}
            setattr(part, field, values)
        part.labels = None if self.labels is None else self.labels[keep]
        for value in part.shared.values():
            value.requires_grad_()
        return part

    def fresh(self) -> Classifier:
        """The agreed architecture with fresh parameters."""
        return build(self._case, self.classes)

    def logits(self, x: Tensor, parameters: Mapping[str, Tensor]) -> Tensor:
        """(N, B, C, H, W) images in [0, 1] to (N, B, classes), with all of the model's parameters
        (N, ...) given.
        """
        return self._forward(self._call, parameters, x)

    def features(self, x: Tensor) -> Tensor:
        """(N, B, C, H, W) images in [0, 1] to (N, B, d): what enters the first private layer.

        If no layer is private, what enters the model's head. Needs no head: a placeholder runs
        behind the cut.
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
        self,
        call: Callable[[Tensors, Tensors, Tensor], Forwarded],
        weights: Mapping[str, Tensor],
        x: Tensor,
    ) -> Forwarded:
        # BatchNorm in train mode writes its running statistics: into a copy that is thrown away
        buffers = {name: value.clone() for name, value in self.buffers.items()}
        batched = vmap(call, randomness="different")
        answer: Forwarded = batched(dict(weights), buffers, (x - INPUT_MEAN) / INPUT_STD)
        return answer

    def _call(
        self, weights: Mapping[str, Tensor], buffers: Mapping[str, Tensor], inputs: Tensor
    ) -> Tensor:
        logits: Tensor = functional_call(self.model, {**weights, **buffers}, (inputs,))
        return logits


def build(case: Case, classes: int) -> Classifier:
    """The agreed architecture, by name, with fresh parameters."""
    seen = case.observation
    return models.build(
        seen.model, channels=seen.channels, image_size=seen.image_size, classes=classes
    )


def class_count(case: Case) -> int:
    """How many classes the attacker's copy has: as the observed head, else as declared, else a
    placeholder.
    """
    bias = case.observation.shared_before.get("head.bias")
    return len(bias) if bias is not None else case.knowledge.classes or UNKNOWN_CLASSES


def set_mode(model: nn.Module, mode: str) -> None:
    """Run BatchNorm as the hospital did ("train": with the batch's own statistics). Dropout stays
    off, because its random choices are unknown.
    """
    model.eval()
    if mode == "train":
        for module in model.modules():
            if isinstance(module, nn.modules.batchnorm._BatchNorm):
                module.train()


def first_private(model: Classifier, shared: set[str], example: Tensor) -> nn.Module:
    """Return the layer where the shared part ends: the first to run of all that own a parameter
    outside `shared`, or the model's head if everything is shared.
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
    """The mean gradient behind an SGD update, right up to scale if rate or steps are unknown."""
    known = case.knowledge
    scale = (known.learning_rate or 1.0) * (known.local_steps or 1) * case.observation.summed
    return -case.observation.readable[name] / scale
