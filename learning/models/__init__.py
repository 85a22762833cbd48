"""The models, by name. A new model is one file here with a `build` function, and one line in `REGISTRY`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from learning.models import cnn3, torchvision_nets
from learning.models.classifier import Classifier

SMALLEST_IMAGE = 28


@dataclass(frozen=True)
class ModelSpec:
    """A model by name. `private` holds fnmatch patterns over state_dict names: what FLOP keeps at home by default."""

    name: str
    build: Callable[..., Classifier]
    about: str
    private: tuple[str, ...] = ("head.*",)


_SPECS = (
    ModelSpec("cnn3", cnn3.build, "two convolutions and one linear layer, the FLOP paper's Fashion-MNIST network"),
    ModelSpec("resnet18", torchvision_nets.resnet18, "18-layer residual network (He et al. 2016)"),
)
REGISTRY: dict[str, ModelSpec] = {spec.name: spec for spec in _SPECS}


def spec(name: str) -> ModelSpec:
    """The registry's entry. Raises ValueError that lists the names when there is none."""
    if name not in REGISTRY:
        raise ValueError(f"no model is called {name!r}; choose one of {', '.join(sorted(REGISTRY))}")
    return REGISTRY[name]


def build(name: str, *, channels: int, image_size: int, classes: int, pretrained: bool = False) -> Classifier:
    """A new model for `channels` x `image_size` x `image_size` inputs, drawn from torch's global random state.

    `channels` is 1 or 3, `image_size` at least 28 pixels, `classes` at least 2. `pretrained` loads torchvision's
    ImageNet weights into everything but the head; it needs the network once. Raises ValueError on anything else.
    """
    chosen = spec(name)
    if channels not in (1, 3):
        raise ValueError(f"a model takes 1 or 3 channels, not {channels}; convert the images to grey or RGB")
    if image_size < SMALLEST_IMAGE:
        raise ValueError(f"an image size of {image_size} is too small; the models work from {SMALLEST_IMAGE} pixels up")
    if classes < 2:
        raise ValueError(f"a classifier needs at least two classes, not {classes}; look at the data set's folders")
    return chosen.build(channels=channels, image_size=image_size, classes=classes, pretrained=pretrained)
