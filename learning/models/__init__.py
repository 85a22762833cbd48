"""The models, by name. A new model is one file here with a `build` function, and one line in
`REGISTRY`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from learning import randomness
from learning.models import cnn3, covidnet, lenet_dlg, mobilenetv2, residual, vgg11
from learning.models.classifier import Classifier

SMALLEST_IMAGE = 28


@dataclass(frozen=True)
class ModelSpec:
    """A model by name. `private` holds fnmatch patterns over state_dict names: what FLOP keeps at
    home by default.
    """

    name: str
    build: Callable[..., Classifier]
    about: str
    private: tuple[str, ...] = ("head.*",)


_SPECS = (
    ModelSpec(
        "cnn3",
        cnn3.build,
        "two convolutions and one linear layer, the FLOP paper's Fashion-MNIST network",
    ),
    ModelSpec("vgg11", vgg11.build, "VGG-11, the FLOP paper's CIFAR-10 network"),
    ModelSpec(
        "covidnet", covidnet.build, "COVID-Net: PEPX modules with long-range sums, for chest X-rays"
    ),
    ModelSpec("resnet18", residual.resnet18, "18-layer residual network"),
    ModelSpec("resnet50", residual.resnet50, "50-layer residual network"),
    ModelSpec("resnext50", residual.resnext50, "ResNeXt-50, 32 groups of 4 channels"),
    ModelSpec(
        "resnext18",
        residual.resnext18,
        "ResNeXt blocks in ResNet18's layout, as in the FedAvg paper",
    ),
    ModelSpec("mobilenetv2", mobilenetv2.build, "MobileNet-v2, inverted residuals"),
    ModelSpec(
        "lenet-dlg",
        lenet_dlg.sigmoid,
        "Deep Leakage's LeNet with sigmoids, the attacks' positive control",
    ),
    ModelSpec("lenet-dlg-relu", lenet_dlg.relu, "the same with ReLU and default weights"),
)
REGISTRY: dict[str, ModelSpec] = {spec.name: spec for spec in _SPECS}


def spec(name: str) -> ModelSpec:
    """The registry's entry. Raises ValueError that lists the names when there is none."""
    if name not in REGISTRY:
        raise ValueError(
            f"no model is called {name!r}; choose one of {', '.join(sorted(REGISTRY))}"
        )
    return REGISTRY[name]


def build(
    name: str, *, channels: int, image_size: int, classes: int, pretrained: bool = False
) -> Classifier:
    """A new model for `channels` x `image_size` x `image_size` inputs, drawn from torch's global
    random state.

    `channels` is 1 or 3, `image_size` at least 28 pixels, `classes` at least 2. `pretrained` loads
    torchvision's ImageNet weights into everything but the head; it needs the network once. Raises
    ValueError on anything else.
    """
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
    with randomness.unseeded():
        return chosen.build(
            channels=channels, image_size=image_size, classes=classes, pretrained=pretrained
        )
