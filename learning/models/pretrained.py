"""torchvision's ImageNet weights, for users who are online."""

from __future__ import annotations

from typing import cast

import torch
from torch import nn
from torchvision.models import WeightsEnum


def load_into(module: nn.Module, weights: WeightsEnum, prefix: str = "") -> None:
    """Load the downloaded entries that start with `prefix` into `module`, without the prefix.

    Raises:
        ValueError: If the download fails.
    """
    try:
        # weights_only: a downloaded file may hold tensors, never code
        state = weights.get_state_dict(check_hash=True, weights_only=True)
    except OSError as error:
        raise ValueError(
            f"the ImageNet weights {weights} cannot be downloaded; leave --pretrained out"
        ) from error
    wanted = {
        name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)
    }
    module.load_state_dict(wanted)


def for_channels(conv: nn.Conv2d, channels: int) -> nn.Conv2d:
    """The RGB convolution itself, or one for grey images with the RGB one's answer to R = G = B."""
    if channels == conv.in_channels:
        return conv
    bias = conv.bias is not None
    grey = nn.Conv2d(
        channels,
        conv.out_channels,
        (conv.kernel_size[0], conv.kernel_size[1]),
        (conv.stride[0], conv.stride[1]),
        conv.padding if isinstance(conv.padding, str) else (conv.padding[0], conv.padding[1]),
        bias=bias,
    )
    with torch.no_grad():
        grey.weight.copy_(conv.weight.sum(dim=1, keepdim=True))
        if bias:
            bias_of(grey).copy_(bias_of(conv))
    return grey


def conv_of(module: nn.Module | torch.Tensor) -> nn.Conv2d:
    """The module as what it is known to be: torchvision's types do not say it."""
    return cast(nn.Conv2d, module)


def bias_of(layer: nn.Conv2d | nn.Linear) -> nn.Parameter:
    """The bias of a layer that was made with one."""
    return cast(nn.Parameter, layer.bias)
