"""Grad-CAM++ looks where the evidence is."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from learning import models
from learning.gradcam import grad_cam_plus_plus
from learning.models.classifier import Classifier


@pytest.mark.parametrize("name", sorted(models.REGISTRY))
def test_every_model_has_maps(name: str) -> None:
    torch.manual_seed(0)
    model = models.build(name, channels=1, image_size=32, classes=3)
    images = torch.randint(0, 256, (2, 1, 32, 32), dtype=torch.uint8)
    heat = grad_cam_plus_plus(model, images)
    assert heat.shape == (2, 32, 32) and heat.dtype == np.float32
    assert np.isfinite(heat).all() and heat.min() >= 0 and heat.max() <= 1
    assert all(parameter.grad is None for parameter in model.parameters())


def detector() -> Classifier:
    """Two maps, bright and dark pixels: class 0 is the sum of the first, class 1 of the second."""
    body = nn.Sequential(nn.Conv2d(1, 2, 1), nn.ReLU())
    model = Classifier(body, nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten()), nn.Linear(2, 2))
    with torch.no_grad():
        body[0].weight.copy_(torch.tensor([1.0, -1.0]).reshape(2, 1, 1, 1))
        body[0].bias.fill_(-1.0)
        model.head.weight.copy_(torch.eye(2))
        model.head.bias.zero_()
    return model


def test_the_map_lies_on_what_speaks_for_the_class() -> None:
    images = torch.full((1, 1, 8, 8), 128, dtype=torch.uint8)
    images[0, 0, 1, 2], images[0, 0, 6, 5] = 255, 0
    bright, dark = (grad_cam_plus_plus(detector(), images, target)[0] for target in (0, 1))
    assert np.argwhere(bright > 0.5).tolist() == [[1, 2]]
    assert np.argwhere(dark > 0.5).tolist() == [[6, 5]]


def test_each_image_may_have_its_own_class() -> None:
    images = torch.full((2, 1, 8, 8), 128, dtype=torch.uint8)
    images[:, 0, 1, 2], images[:, 0, 6, 5] = 255, 0
    heat = grad_cam_plus_plus(detector(), images, torch.tensor([0, 1]))
    assert heat[0, 1, 2] == 1 and heat[1, 6, 5] == 1 and heat[0, 6, 5] == 0


def test_no_evidence_gives_an_empty_map() -> None:
    images = torch.full((1, 1, 8, 8), 128, dtype=torch.uint8)
    assert not grad_cam_plus_plus(detector(), images, 0).any()
