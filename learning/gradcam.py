"""Grad-CAM++ (Chattopadhay et al. 2018): where in an image a model looks."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import interpolate, relu

from learning.models.classifier import Classifier
from learning.training import to_input


def grad_cam_plus_plus(
    model: Classifier,
    images: Tensor,
    target: int | Tensor | None = None,
    device: torch.device | None = None,
) -> np.ndarray:
    """How much each place of an image speaks for a class, by the last convolution's maps.

    Equation 19 of the paper gives the pixel weights from the first gradient alone if the score is
    exp(logit); the common factor exp(logit) cancels when a map is scaled to a maximum of 1.

    Args:
        model: Left in evaluation mode.
        images: uint8, (B, C, H, W).
        target: One class for all, one per image (B,), or None for the predicted ones.
        device: Where to compute; None: where the model is.

    Returns:
        Maps (B, H, W), float32 in [0, 1]; 0 everywhere if there is no positive evidence.
    """
    device = device or next(model.parameters()).device
    model = model.to(device).eval()
    with torch.enable_grad():
        maps = model.body(to_input(images.to(device))).detach().requires_grad_(True)
        logits = model.head(model.neck(maps))
        chosen = (
            logits.argmax(dim=1)
            if target is None
            else torch.as_tensor(target, device=device).expand(len(images))
        )
        score = logits.gather(1, chosen.unsqueeze(1)).sum()
        (slope,) = torch.autograd.grad(score, maps)
    maps = maps.detach()
    squared, cubed = slope.square(), slope.pow(3)
    denominator = 2 * squared + (maps.sum(dim=(2, 3), keepdim=True) * cubed)
    alpha = torch.where(
        denominator != 0, squared / denominator.where(denominator != 0, torch.ones(())), 0.0
    )
    weights = (alpha * relu(slope)).sum(dim=(2, 3), keepdim=True)
    heat = relu((weights * maps).sum(dim=1, keepdim=True))
    heat = interpolate(heat, size=images.shape[-2:], mode="bilinear", align_corners=False)
    peak = heat.amax(dim=(2, 3), keepdim=True)
    heat = torch.where(peak > 0, heat / peak.clamp(min=torch.finfo(heat.dtype).tiny), 0.0)
    return np.asarray(heat.squeeze(1).cpu())
