"""The network of Deep Leakage from Gradients (Zhu et al. 2019): the easiest to attack, so the
benchmark's positive control.

Three 5x5 convolutions of 12 channels with strides 2, 2, 1, and one linear layer. `sigmoid` has the
paper's weights, uniform in (-0.5, 0.5); `relu` has PyTorch's default weights, with which a ReLU
network stays trainable.
"""

from __future__ import annotations

from torch import nn

from learning.models.classifier import Classifier, refuse_pretrained
from learning.models.pretrained import bias_of

STRIDES = (2, 2, 1)
WIDTH = 12


class UniformConv(nn.Conv2d):
    def reset_parameters(self) -> None:
        _uniform(self)


class UniformLinear(nn.Linear):
    def reset_parameters(self) -> None:
        _uniform(self)


def sigmoid(
    *, channels: int, image_size: int, classes: int, pretrained: bool = False
) -> Classifier:
    return _build(channels, image_size, classes, pretrained, UniformConv, UniformLinear, nn.Sigmoid)


def relu(*, channels: int, image_size: int, classes: int, pretrained: bool = False) -> Classifier:
    return _build(channels, image_size, classes, pretrained, nn.Conv2d, nn.Linear, nn.ReLU)


def _build(
    channels: int,
    image_size: int,
    classes: int,
    pretrained: bool,
    conv: type[nn.Conv2d],
    linear: type[nn.Linear],
    activation: type[nn.Module],
) -> Classifier:
    refuse_pretrained("DLG's LeNet", pretrained)
    layers: list[nn.Module] = []
    width, side = channels, image_size
    for stride in STRIDES:
        layers += [conv(width, WIDTH, 5, stride=stride, padding=2), activation()]
        width, side = WIDTH, -(-side // stride)
    return Classifier(nn.Sequential(*layers), nn.Flatten(), linear(WIDTH * side * side, classes))


def _uniform(layer: nn.Conv2d | nn.Linear) -> None:
    nn.init.uniform_(layer.weight, -0.5, 0.5)
    nn.init.uniform_(bias_of(layer), -0.5, 0.5)
