"""VGG-11 (Simonyan and Zisserman 2015, configuration A), for the FLOP paper's CIFAR-10 study; its
last linear is private.

Ours: the pools round up, so that 28 pixels survive five of them, and the maps are averaged before
two hidden layers of 512 units; the original's two of 4096 on 7x7 maps are made for 224 pixels and
would be nine tenths of all parameters. `pretrained` therefore loads the convolutions only.
"""

from __future__ import annotations

from torch import nn
from torchvision.models import VGG11_Weights

from learning.models.classifier import Classifier
from learning.models.pretrained import bias_of, conv_of, for_channels, load_into

POOL = 0
WIDTHS = (64, POOL, 128, POOL, 256, 256, POOL, 512, 512, POOL, 512, 512)
HIDDEN = 512


def build(*, channels: int, image_size: int, classes: int, pretrained: bool = False) -> Classifier:
    layers: list[nn.Module] = []
    width = 3
    for item in WIDTHS:
        if item == POOL:
            layers.append(nn.MaxPool2d(2, ceil_mode=True))
        else:
            layers += [nn.Conv2d(width, item, 3, padding=1), nn.ReLU(inplace=True)]
            width = item
    body = nn.Sequential(*layers)
    for module in body:
        if isinstance(module, nn.Conv2d):
            # without BatchNorm, PyTorch's default starts too small for eight layers
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            nn.init.zeros_(bias_of(module))
    if pretrained:
        load_into(body, VGG11_Weights.IMAGENET1K_V1, prefix="features.")
    body[0] = for_channels(conv_of(body[0]), channels)
    neck = nn.Sequential(
        nn.MaxPool2d(2, ceil_mode=True),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        *_hidden(width),
        *_hidden(HIDDEN),
    )
    return Classifier(body, neck, nn.Linear(HIDDEN, classes), channels_last_on_cpu=False)


def _hidden(width: int) -> tuple[nn.Module, ...]:
    linear = nn.Linear(width, HIDDEN)
    nn.init.kaiming_normal_(linear.weight, nonlinearity="relu")
    nn.init.zeros_(bias_of(linear))
    return linear, nn.ReLU(inplace=True), nn.Dropout(0.5)
