"""What holds for every registered model: its layout, its facts, and that one step trains it."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from learning import models, private_layers
from learning.models.classifier import Classifier
from learning.training import Trainer, TrainSettings

NAMES = sorted(models.REGISTRY)
# the same functions build the 50-layer networks and the small ones
DEEP = {"resnet50", "resnext50"}
SMALL = [name for name in NAMES if name not in DEEP]
CPU = torch.device("cpu")


def build(name: str, channels: int = 1, seed: int = 0, **how) -> Classifier:
    torch.manual_seed(seed)
    return models.build(name, **({"channels": channels, "image_size": 28, "classes": 3} | how))


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=[pytest.mark.slow] if name in DEEP else []) for name in NAMES],
)
def test_one_step_changes_shared_and_private_parameters(name: str) -> None:
    """All of them: a layer that no gradient reaches would be sent for nothing."""
    model = build(name, channels=3)
    split = private_layers.choose(model, default=models.spec(name).private)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    images = torch.randint(0, 256, (3, 3, 28, 28), dtype=torch.uint8)
    settings = TrainSettings(optimizer="adam", batch_size=3)
    stats = Trainer(model, settings, CPU).train(images, torch.arange(3), seed=0)
    assert stats.steps == 1 and np.isfinite(stats.loss)
    after = model.state_dict()
    trainable = {key for key, _ in model.named_parameters()}
    for part in (split.shared, split.private):
        still = [key for key in part if key in trainable and torch.equal(before[key], after[key])]
        # a ReLU that is dark for all three images has a gradient of zero; a layer is never still
        assert len(still) <= 0.02 * len(part), still
    assert all(torch.isfinite(value).all() for value in after.values())


@pytest.mark.parametrize("name", NAMES)
def test_the_layout_is_body_then_neck_then_head_and_the_same_in_grey_and_colour(name: str) -> None:
    with torch.device("meta"):
        grey, colour = (build(name, channels).state_dict() for channels in (1, 3))
    assert list(grey) == list(colour)
    places = [("body", "neck", "head").index(key.split(".")[0]) for key in grey]
    assert places == sorted(places)
    differing = [key for key in grey if grey[key].shape != colour[key].shape]
    assert differing == [next(iter(grey))], "only the first convolution sees the channels"
    assert grey[differing[0]].shape[1] == 1 and colour[differing[0]].shape[1] == 3
    assert list(grey)[-2:] == ["head.weight", "head.bias"] and len(grey["head.bias"]) == 3


@pytest.mark.parametrize("name", NAMES)
def test_the_facts_are_the_built_modules(name: str) -> None:
    facts = models.facts(name)
    with torch.device("meta"):
        model = build(name, channels=3, image_size=64)
    assert facts.parameters == sum(one.numel() for one in model.parameters())
    assert facts.private_parameters == sum(one.numel() for one in model.head.parameters())
    has = any(isinstance(module, _BatchNorm) for module in model.modules())
    assert facts.batchnorm == models.has_batchnorm(name) == has
    assert has == any("running_mean" in key for key in model.state_dict())


@pytest.mark.parametrize("name", SMALL)
def test_the_seed_of_the_global_state_decides_the_weights(name: str) -> None:
    heads = [build(name, seed=seed).head.weight for seed in (1, 1, 2)]
    assert torch.equal(heads[0], heads[1]) and not torch.equal(heads[0], heads[2])


@pytest.mark.parametrize("name", SMALL)
def test_the_answer_to_an_image_does_not_depend_on_its_batch(name: str) -> None:
    """In evaluation mode: neither on the other images nor on their order."""
    model = build(name).eval()
    images = torch.randn(3, 1, 28, 28, generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        whole, turned, alone = model(images), model(images.flip(0)), model(images[1:2])
    assert torch.allclose(whole, turned.flip(0), atol=1e-4)
    assert torch.allclose(whole[1:2], alone, atol=1e-4)


@pytest.mark.parametrize(
    ("name", "millions"),
    [
        # torchvision's published counts with 1,000 classes
        ("resnet18", 11.690),
        ("resnet50", 25.557),
        ("resnext50", 25.029),
        ("mobilenetv2", 3.505),
    ],
)
def test_known_networks_have_their_published_size(name: str, millions: float) -> None:
    with torch.device("meta"):
        model = build(name, channels=3, classes=1000)
    count = sum(one.numel() for one in model.parameters())
    assert count / 1e6 == pytest.approx(millions, abs=0.001)


def test_cnn3_has_the_documented_widths() -> None:
    model = build("cnn3", classes=10)
    shapes = [tuple(one.shape) for one in model.parameters() if one.ndim > 1]
    assert shapes == [(16, 1, 5, 5), (32, 16, 5, 5), (10, 32 * 7 * 7)]
    assert model.body(torch.zeros(1, 1, 28, 28)).shape == (1, 32, 14, 14)


def test_vgg11_has_eight_convolutions_and_three_linear_layers() -> None:
    with torch.device("meta"):
        model = build("vgg11")
    widths = [module.out_channels for module in model.modules() if isinstance(module, nn.Conv2d)]
    assert widths == [64, 128, 256, 256, 512, 512, 512, 512]
    assert sum(isinstance(module, nn.Linear) for module in model.modules()) == 3


def test_covidnet_has_sixteen_pepx_modules_in_four_stages() -> None:
    with torch.device("meta"):
        model = build("covidnet")
    kinds = [type(module).__name__ for module in model.modules()]
    assert (kinds.count("PEPX"), kinds.count("Stage")) == (16, 4)


def test_lenet_strides_leave_a_quarter_of_the_side() -> None:
    assert build("lenet-dlg").body(torch.zeros(1, 1, 28, 28)).shape == (1, 12, 7, 7)
    sigmoid, relu = build("lenet-dlg"), build("lenet-dlg-relu")
    kinds = [{type(module) for module in model.body} for model in (sigmoid, relu)]
    assert nn.Sigmoid in kinds[0] and nn.ReLU not in kinds[0]
    assert nn.ReLU in kinds[1] and nn.Sigmoid not in kinds[1]


@pytest.mark.parametrize("name", ["cnn3", "covidnet", "lenet-dlg", "lenet-dlg-relu", "resnext18"])
def test_models_without_imagenet_weights_say_so(name: str) -> None:
    with pytest.raises(ValueError, match=r"no ImageNet weights for .*; leave --pretrained out"):
        build(name, pretrained=True)


class Small(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.flat = nn.Flatten()
        self.head = nn.Linear(28 * 28, 3)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.head(self.flat(images))


def test_an_own_module_is_copied_and_forgotten_at_the_end() -> None:
    mine = Small()
    with models.own(mine, ("head.bias",)) as name:
        first, second = build(name), build(name)
        assert models.spec(name).private == ("head.bias",) and models.spec(name).about == "Small"
        with pytest.raises(ValueError, match="brings its own weights"):
            build(name, pretrained=True)
        with torch.no_grad():
            mine.head.weight.zero_()
            first.head.weight.fill_(7)
        assert second.head.weight.abs().max() < 1, "neither the caller nor a copy changes another"
        assert models.facts(name) == models.Facts(28 * 28 * 3 + 3, 3, False)
    with pytest.raises(ValueError, match="pass the same module"):
        models.spec(name)
    assert name not in models.REGISTRY


def test_an_own_module_inside_another_comes_back_afterwards() -> None:
    with models.own(Small(), ("head.*",)):
        with models.own(nn.Linear(2, 2), ("weight",)) as name:
            assert models.spec(name).about == "Linear"
        assert models.spec(name).about == "Small"


def test_an_error_inside_own_ends_it_too() -> None:
    with pytest.raises(RuntimeError), models.own(Small()):
        raise RuntimeError
    with pytest.raises(ValueError, match="pass the same module"):
        models.spec(models.OWN)
