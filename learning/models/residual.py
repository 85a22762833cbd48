"""ResNet (He et al. 2016) and ResNeXt (Xie et al. 2017): torchvision's networks, cut into body,
neck and head.

They halve the image five times and average what is left, so they take any size; at 28 to 32 pixels
the last map is 1x1.
"""

from __future__ import annotations

from collections import OrderedDict

import torchvision.models as zoo
from torch import nn
from torchvision.models.resnet import Bottleneck

from learning.models.classifier import Classifier, refuse_pretrained
from learning.models.pretrained import conv_of, for_channels, load_into


def resnet18(
    *, channels: int, image_size: int, classes: int, pretrained: bool = False
) -> Classifier:
    weights = zoo.ResNet18_Weights.IMAGENET1K_V1 if pretrained else None
    return _cut(zoo.resnet18(), channels, classes, weights, channels_last_on_cpu=False)


def resnet50(
    *, channels: int, image_size: int, classes: int, pretrained: bool = False
) -> Classifier:
    return _cut(
        zoo.resnet50(),
        channels,
        classes,
        zoo.ResNet50_Weights.IMAGENET1K_V2 if pretrained else None,
    )


def resnext50(
    *, channels: int, image_size: int, classes: int, pretrained: bool = False
) -> Classifier:
    weights = zoo.ResNeXt50_32X4D_Weights.IMAGENET1K_V2 if pretrained else None
    return _cut(zoo.resnext50_32x4d(), channels, classes, weights)


def resnext18(
    *, channels: int, image_size: int, classes: int, pretrained: bool = False
) -> Classifier:
    """The FedAvg paper's ResNeXt: "the topology is the same as ResNet18". Its text says no more.

    Ours: ResNet18's four stages of two blocks, each block ResNeXt's own (bottleneck of 32 groups, 4
    channels wide each).
    """
    refuse_pretrained("resnext18", pretrained)
    return _cut(
        zoo.ResNet(Bottleneck, [2, 2, 2, 2], groups=32, width_per_group=4), channels, classes, None
    )


def _cut(
    net: zoo.ResNet,
    channels: int,
    classes: int,
    weights: zoo.WeightsEnum | None,
    *,
    channels_last_on_cpu: bool = True,
) -> Classifier:
    if weights is not None:
        load_into(net, weights)
    names = ("conv1", "bn1", "relu", "maxpool", "layer1", "layer2", "layer3", "layer4")
    body = nn.Sequential(OrderedDict((name, getattr(net, name)) for name in names))
    body.conv1 = for_channels(conv_of(body.conv1), channels)
    neck = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
    head = nn.Linear(net.fc.in_features, classes)
    return Classifier(body, neck, head, channels_last_on_cpu=channels_last_on_cpu)
