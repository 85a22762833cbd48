"""ResNet, ResNeXt and MobileNet-v2: torchvision's networks, cut into body, neck and head.

All of them halve the image five times and pool what is left, so they take any size; at 28 to 32 pixels the last map
is 1x1.
"""

from __future__ import annotations

from collections import OrderedDict

import torch
import torchvision.models as zoo
from torch import nn

from learning.models.classifier import Classifier


def resnet18(*, channels: int, image_size: int, classes: int, pretrained: bool = False) -> Classifier:
    return _residual(_load(zoo.resnet18(), zoo.ResNet18_Weights.IMAGENET1K_V1, pretrained), channels, classes)


def _residual(net: zoo.ResNet, channels: int, classes: int) -> Classifier:
    names = ("conv1", "bn1", "relu", "maxpool", "layer1", "layer2", "layer3", "layer4")
    body = nn.Sequential(OrderedDict((name, getattr(net, name)) for name in names))
    body.conv1 = _for_channels(body.conv1, channels)
    neck = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
    return Classifier(body, neck, nn.Linear(net.fc.in_features, classes))


def _for_channels(conv: nn.Conv2d, channels: int) -> nn.Conv2d:
    """The RGB convolution itself, or one for grey images that answers as the RGB one does when R = G = B."""
    if channels == conv.in_channels:
        return conv
    grey = nn.Conv2d(
        channels, conv.out_channels, conv.kernel_size, conv.stride, conv.padding, bias=conv.bias is not None
    )
    with torch.no_grad():
        grey.weight.copy_(conv.weight.sum(dim=1, keepdim=True))
        if conv.bias is not None:
            grey.bias.copy_(conv.bias)
    return grey


def _load(net: nn.Module, weights: zoo.WeightsEnum, pretrained: bool) -> nn.Module:
    if pretrained:
        try:
            # weights_only: a downloaded file may hold tensors, never code
            net.load_state_dict(weights.get_state_dict(check_hash=True, weights_only=True))
        except OSError as error:
            raise ValueError(f"the ImageNet weights {weights} cannot be downloaded; leave --pretrained out") from error
    return net
