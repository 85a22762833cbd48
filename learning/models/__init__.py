"""The models, by name: a new one is one file here and one line in `REGISTRY`.

This module does not import PyTorch, so that help texts and lists can name the models quickly; a
model's own module is imported when it is built.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from functools import lru_cache
from importlib import import_module
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from torch import nn

    from learning.models.classifier import Classifier

SMALLEST_IMAGE = 28


@dataclass(frozen=True)
class ModelSpec:
    """A model by name.

    Attributes:
        name: What `--model` takes.
        source: `MODULE:FUNCTION`. The function takes `channels`, `image_size`, `classes` and
            `pretrained` by keyword and returns a new `Classifier`.
        about: One line for lists.
        private: fnmatch patterns over state_dict names: what FLOP keeps in the hospital by default.
    """

    name: str
    source: str
    about: str
    private: tuple[str, ...] = ("head.*",)


_SPECS = (
    ModelSpec(
        "cnn3",
        "learning.models.cnn3:build",
        "two convolutions and one linear layer, the FLOP paper's Fashion-MNIST network",
    ),
    ModelSpec("vgg11", "learning.models.vgg11:build", "VGG-11, the FLOP paper's CIFAR-10 network"),
    ModelSpec(
        "covidnet",
        "learning.models.covidnet:build",
        "COVID-Net: PEPX modules with long-range sums, for chest X-rays",
    ),
    ModelSpec("resnet18", "learning.models.residual:resnet18", "18-layer residual network"),
    ModelSpec("resnet50", "learning.models.residual:resnet50", "50-layer residual network"),
    ModelSpec(
        "resnext50", "learning.models.residual:resnext50", "ResNeXt-50, 32 groups of 4 channels"
    ),
    ModelSpec(
        "resnext18",
        "learning.models.residual:resnext18",
        "ResNeXt blocks in ResNet18's layout, as in the FedAvg paper",
    ),
    ModelSpec(
        "mobilenetv2", "learning.models.mobilenetv2:build", "MobileNet-v2, inverted residuals"
    ),
    ModelSpec(
        "lenet-dlg",
        "learning.models.lenet_dlg:sigmoid",
        "Deep Leakage's LeNet with sigmoids, the attacks' positive control",
    ),
    ModelSpec(
        "lenet-dlg-relu",
        "learning.models.lenet_dlg:relu",
        "the same with ReLU and default weights",
    ),
)
REGISTRY: dict[str, ModelSpec] = {spec.name: spec for spec in _SPECS}

OWN = "own-module"
"""The name under which a caller's own `nn.Module` goes inside `own`."""


@dataclass(frozen=True)
class _Own:
    module: nn.Module
    spec: ModelSpec


_own: ContextVar[_Own | None] = ContextVar("own model", default=None)


@contextmanager
def own(module: nn.Module, private: tuple[str, ...] = ("head.*",)) -> Iterator[str]:
    """Make `module` available as the model `OWN` in this thread (this context), until the end.

    Other threads and the registry see nothing of it. What is built are copies of the module, with
    its weights as they are. Yields the name.
    """
    spec = ModelSpec(OWN, "", type(module).__name__, private)
    token = _own.set(_Own(copy.deepcopy(module).cpu(), spec))
    try:
        yield OWN
    finally:
        _own.reset(token)


def spec(name: str) -> ModelSpec:
    """The registry's entry.

    Raises:
        ValueError: If there is no model of this name; the text lists the names.
    """
    mine = _own.get()
    if name == OWN and mine is not None:
        return mine.spec
    if name == OWN:
        raise ValueError(
            "the run was made with a module from Python; pass the same module to work with it"
        )
    if name not in REGISTRY:
        raise ValueError(
            f"no model is called {name!r}; choose one of {', '.join(sorted(REGISTRY))}"
        )
    return REGISTRY[name]


def build(
    name: str, *, channels: int, image_size: int, classes: int, pretrained: bool = False
) -> Classifier:
    """Build a new model; its weights are drawn from torch's global random state.

    Args:
        name: A name of `REGISTRY`, or `OWN` inside `own`.
        channels: 1 (grey) or 3 (colour).
        image_size: Pixels a side, at least 28.
        classes: Number of classes, at least 2.
        pretrained: Load torchvision's ImageNet weights into everything but the head; they are
            downloaded once.

    Returns:
        A model from (B, channels, image_size, image_size) normalised images to (B, classes) logits.
        `OWN` gives a copy of the caller's module, of which only this much is known: it may have no
        head, neck or body.

    Raises:
        ValueError: If an argument is out of range, or the weights cannot be downloaded.
    """
    from learning import randomness

    chosen = spec(name)
    if channels not in (1, 3):
        raise ValueError(
            f"a model takes 1 or 3 channels, not {channels}; convert the images to grey or RGB"
        )
    if image_size < SMALLEST_IMAGE:
        raise ValueError(
            f"an image size of {image_size} is too small; the models work from {SMALLEST_IMAGE}"
            " pixels up"
        )
    if classes < 2:
        raise ValueError(
            f"a classifier needs at least two classes, not {classes}; look at the data set's"
            " folders"
        )
    mine = _own.get()
    if name == OWN and mine is not None:
        if pretrained:
            raise ValueError("the module brings its own weights; leave pretrained out")
        return cast("Classifier", copy.deepcopy(mine.module))
    module, _, function = chosen.source.partition(":")
    with randomness.unseeded():
        built: Classifier = getattr(import_module(module), function)(
            channels=channels, image_size=image_size, classes=classes, pretrained=pretrained
        )
    return built


def has_batchnorm(name: str) -> bool:
    """Whether the model has BatchNorm layers. Raises ValueError if there is no such model."""
    return facts(name).batchnorm


@dataclass(frozen=True)
class Facts:
    """What `flop models` says of a model, for 3 channels, 64 pixels and 3 classes."""

    parameters: int
    private_parameters: int
    batchnorm: bool


def facts(name: str) -> Facts:
    """Count a model's parameters, without memory for them. Raises ValueError on an unknown name."""
    return _facts(spec(name)) if name != OWN else _count(spec(name))


@lru_cache(maxsize=64)
def _facts(chosen: ModelSpec) -> Facts:
    return _count(chosen)


def _count(chosen: ModelSpec) -> Facts:
    import torch
    from torch.nn.modules.batchnorm import _BatchNorm

    from learning import private_layers

    with torch.device("meta"):
        network = build(chosen.name, channels=3, image_size=64, classes=3)
    sizes = {name: parameter.numel() for name, parameter in network.named_parameters()}
    private = private_layers.choose(network, default=chosen.private).private
    return Facts(
        sum(sizes.values()),
        sum(sizes.get(name, 0) for name in private),
        any(isinstance(module, _BatchNorm) for module in network.modules()),
    )
