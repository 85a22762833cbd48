"""The shape that every model has: body -> neck -> head."""

from __future__ import annotations

from torch import Tensor, nn


class Classifier(nn.Module):
    """Body (images to maps), neck (maps to a feature vector), head (feature vector to logits).

    By default FLOP splits between neck and head (paper, section 4.4: the classifier stays private).
    Grad-CAM++ looks at the maps between body and neck. state_dict names therefore start with
    `body.`, `neck.` or `head.`.
    """

    def __init__(
        self,
        body: nn.Module,
        neck: nn.Module,
        head: nn.Linear,
        *,
        channels_last_on_cpu: bool = True,
    ) -> None:
        """`channels_last_on_cpu`: whether this memory format is faster on a CPU.

        Measured with `flop bench training`: narrow, grouped and depth-wise convolutions gain up to
        1.5 x; networks of wide 3x3 convolutions lose.
        """
        super().__init__()
        self.channels_last_on_cpu = channels_last_on_cpu
        self.body = body
        self.neck = neck
        self.head = head

    @property
    def classes(self) -> int:
        """The number of classes."""
        return self.head.out_features

    def features(self, images: Tensor) -> Tensor:
        """(B, C, H, W) normalised images to (B, F) features; `head` takes these to the logits."""
        found: Tensor = self.neck(self.body(images))
        return found

    def forward(self, images: Tensor) -> Tensor:
        """(B, C, H, W) normalised images to (B, classes) logits."""
        logits: Tensor = self.head(self.features(images))
        return logits


def refuse_pretrained(name: str, pretrained: bool) -> None:
    """For models without ImageNet weights. Raises ValueError if `pretrained` is asked for."""
    if pretrained:
        raise ValueError(
            f"there are no ImageNet weights for {name}; leave --pretrained out or take a ResNet"
        )
