"""Grad-CAM++ against the paper's formula, written as loops over maps and pixels."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from learning.gradcam import grad_cam_plus_plus
from learning.models.classifier import Classifier
from learning.training import to_input


def small(seed: int = 0, classes: int = 3) -> Classifier:
    """Maps as large as the image, so that nothing is interpolated."""
    torch.manual_seed(seed)
    body = nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.ReLU())
    return Classifier(body, nn.Flatten(), nn.Linear(4 * 6 * 6, classes))


def images(count: int = 2) -> torch.Tensor:
    generator = torch.Generator().manual_seed(5)
    return torch.randint(0, 256, (count, 1, 6, 6), dtype=torch.uint8, generator=generator)


def by_hand(model: Classifier, image: torch.Tensor, target: int) -> np.ndarray:
    """Equations 19 and 5 of Chattopadhay et al. 2018, for one image."""
    maps = model.body(to_input(image[None]))[0].detach().numpy()
    # the head is linear, so the logit's slope is a row of its weight
    slope = model.head.weight[target].detach().numpy().reshape(maps.shape)
    heat = np.zeros(maps.shape[1:])
    for k in range(len(maps)):
        weight = 0.0
        for i, j in np.ndindex(*heat.shape):
            g = slope[k, i, j]
            below = 2 * g**2 + maps[k].sum() * g**3
            weight += (g**2 / below if below else 0) * max(g, 0)
        heat += weight * maps[k]
    heat = np.maximum(heat, 0)
    return heat / heat.max() if heat.max() > 0 else heat


@pytest.mark.parametrize("target", [0, 1, 2])
@pytest.mark.parametrize("seed", [0, 1])
def test_the_map_is_the_papers(seed: int, target: int) -> None:
    model = small(seed)
    heat = grad_cam_plus_plus(model, images(), target)
    for place, image in enumerate(images()):
        assert np.allclose(heat[place], by_hand(model, image, target), atol=1e-4)


def test_without_a_target_it_is_the_predicted_class() -> None:
    model = small()
    with torch.no_grad():
        called = model(to_input(images(5))).argmax(dim=1)
    assert np.array_equal(
        grad_cam_plus_plus(model, images(5)), grad_cam_plus_plus(model, images(5), called)
    )


def test_an_images_map_does_not_depend_on_its_batch() -> None:
    model = small()
    together = grad_cam_plus_plus(model, images(4), 1)
    for place in range(4):
        alone = grad_cam_plus_plus(model, images(4)[place : place + 1], 1)
        assert np.allclose(together[place], alone[0], atol=1e-5)


def test_the_scale_of_the_logits_does_not_matter_to_the_brightest_place() -> None:
    """Every map with evidence reaches 1, and none goes beyond."""
    heat = grad_cam_plus_plus(small(), images(6), 2)
    peaks = heat.reshape(6, -1).max(axis=1)
    assert set(np.round(peaks, 5)) <= {0.0, 1.0} and peaks.max() == 1


def test_maps_of_half_the_size_are_interpolated_to_the_images() -> None:
    torch.manual_seed(0)
    body = nn.Sequential(nn.Conv2d(1, 2, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2))
    model = Classifier(body, nn.Flatten(), nn.Linear(2 * 3 * 3, 2))
    assert grad_cam_plus_plus(model, images(3), 0).shape == (3, 6, 6)


def test_it_works_where_gradients_are_switched_off_and_leaves_none_behind() -> None:
    model = small()
    model.train()
    with torch.no_grad():
        heat = grad_cam_plus_plus(model, images(), 0)
    assert heat.max() > 0 and not model.training
    assert all(parameter.grad is None for parameter in model.parameters())
