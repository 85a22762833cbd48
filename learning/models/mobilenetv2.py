"""MobileNet-v2 (Sandler et al. 2018): torchvision's network, cut into body, neck and head; any
image size.
"""

from __future__ import annotations

import torchvision.models as zoo
from torch import nn

from learning.models.classifier import Classifier
from learning.models.pretrained import for_channels, load_into


def build(*, channels: int, image_size: int, classes: int, pretrained: bool = False) -> Classifier:
    net = zoo.mobilenet_v2()
    if pretrained:
        load_into(net, zoo.MobileNet_V2_Weights.IMAGENET1K_V2)
    net.features[0][0] = for_channels(net.features[0][0], channels)
    neck = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(0.2))
    return Classifier(net.features, neck, nn.Linear(net.last_channel, classes))
