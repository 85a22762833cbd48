"""torchvision's ImageNet weights, for users who are online."""

from __future__ import annotations

import torch
from torch import nn
from torchvision.models import WeightsEnum


def load_into(module: nn.Module, weights: WeightsEnum, prefix: str = "") -> None:
    """Load the downloaded entries whose names start with `prefix` (cut off) into `module`, which
    must need exactly these.

    Raises ValueError when the download fails.
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
    """The RGB convolution itself, or one for grey images that answers as the RGB one does when R =
    G = B.
    """
    if channels == conv.in_channels:
        return conv
    bias = conv.bias is not None
    grey = nn.Conv2d(
        channels, conv.out_channels, conv.kernel_size, conv.stride, conv.padding, bias=bias
    )
    with torch.no_grad():
        grey.weight.copy_(conv.weight.sum(dim=1, keepdim=True))
        if bias:
            grey.bias.copy_(conv.bias)
    return grey
