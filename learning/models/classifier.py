"""The shape that every model has: body -> neck -> head."""

from __future__ import annotations

from torch import Tensor, nn


class Classifier(nn.Module):
    """Body (images to maps), neck (maps to a feature vector), head (feature vector to logits).

    The cut between neck and head is where FLOP splits by default (paper section 4.4: the classifier
    stays at home), the cut between body and neck is where Grad-CAM++ looks. state_dict names
    therefore start with `body.`, `neck.` or `head.`.
    """

    # Measured, see `flop bench training`: narrow, grouped and depth-wise convolutions gain up to
    # 1.5 x on a CPU; only networks of wide 3x3 ones lose, and say so.
    channels_last_on_cpu = True

    def __init__(self, body: nn.Module, neck: nn.Module, head: nn.Linear) -> None:
        super().__init__()
        self.body = body
        self.neck = neck
        self.head = head

    @property
    def classes(self) -> int:
        return self.head.out_features

    def features(self, images: Tensor) -> Tensor:
        """(B, C, H, W) normalised images to (B, F) features, so that `forward(x)` is
        `head(features(x))`.
        """
        return self.neck(self.body(images))

    def forward(self, images: Tensor) -> Tensor:
        """(B, C, H, W) normalised images to (B, classes) logits."""
        return self.head(self.features(images))


def refuse_pretrained(name: str, pretrained: bool) -> None:
    if pretrained:
        raise ValueError(
            f"there are no ImageNet weights for {name}; leave --pretrained out or take a ResNet"
        )
