"""COVID-Net (Wang and Wong 2020, arXiv 2003.09871), from the paper's description, made to fit small
images.

A 7x7 convolution, four stages of 3, 4, 6 and 3 PEPX modules at half the size each, joined inside a
stage by long-range sums that a 1x1 convolution of the stage's input starts, then two fully
connected layers before the classifier.

Ours, where the paper is silent or made for large images: BatchNorm after every convolution (the
original starts from ImageNet weights, this one from nothing), a module's inner widths of 1/2, 3/2
and 1/2 of its output, and pools that round up so that 28 pixels survive them.
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn.functional import relu

from learning.models.classifier import Classifier, refuse_pretrained

STAGES = ((56, 3), (112, 4), (216, 6), (424, 3))
HIDDEN = (1024, 256)
LARGEST_MAP = 4


def build(*, channels: int, image_size: int, classes: int, pretrained: bool = False) -> Classifier:
    refuse_pretrained("covidnet", pretrained)
    stem = STAGES[0][0]
    first = nn.Conv2d(channels, stem, 7, stride=2, padding=3, bias=False)
    layers: list[nn.Module] = [first, nn.BatchNorm2d(stem), nn.ReLU(inplace=True)]
    width, side = stem, -(-image_size // 2)
    for stage_width, modules in STAGES:
        layers.append(Stage(width, stage_width, modules))
        width, side = stage_width, -(-side // 2)
    side = min(side, LARGEST_MAP)
    neck: list[nn.Module] = [nn.AdaptiveAvgPool2d(side), nn.Flatten()]
    flat = width * side * side
    for hidden in HIDDEN:
        neck += [nn.Linear(flat, hidden), nn.ReLU(inplace=True)]
        flat = hidden
    return Classifier(nn.Sequential(*layers), nn.Sequential(*neck), nn.Linear(flat, classes))


class PEPX(nn.Sequential):
    """Projection, expansion, depth-wise representation, projection, extension (the paper's section
    on architecture).
    """

    def __init__(self, width_in: int, width_out: int) -> None:
        low, high = width_out // 2, width_out * 3 // 2
        super().__init__(
            *_conv(width_in, low),
            *_conv(low, high),
            nn.ReLU(inplace=True),
            *_conv(high, high, size=3, groups=high),
            nn.ReLU(inplace=True),
            *_conv(high, low),
            *_conv(low, width_out),
        )


class Stage(nn.Module):
    """Half the size; each PEPX reads the sum of the long-range 1x1 path and of all the modules
    before it.
    """

    def __init__(self, width_in: int, width_out: int, modules: int) -> None:
        super().__init__()
        self.pool = nn.MaxPool2d(2, ceil_mode=True)
        self.long = nn.Sequential(*_conv(width_in, width_out))
        self.first = PEPX(width_in, width_out)
        self.others = nn.ModuleList(PEPX(width_out, width_out) for _ in range(modules - 1))

    def forward(self, x: Tensor) -> Tensor:
        x = self.pool(x)
        total = self.long(x) + self.first(x)
        for module in self.others:
            total = total + module(relu(total))
        return relu(total)


def _conv(
    width_in: int, width_out: int, size: int = 1, groups: int = 1
) -> tuple[nn.Module, nn.Module]:
    conv = nn.Conv2d(width_in, width_out, size, padding=size // 2, groups=groups, bias=False)
    return conv, nn.BatchNorm2d(width_out)
