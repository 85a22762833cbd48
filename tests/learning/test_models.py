"""Every registered model: shapes, private part, initialisation by seed, parameters that go out and
come back.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torchvision

from learning import models, parameters, private_layers
from learning.models import pretrained
from learning.models.classifier import Classifier

NAMES = sorted(models.REGISTRY)


def build(
    name: str, channels: int = 1, image_size: int = 28, classes: int = 3, seed: int = 0
) -> Classifier:
    torch.manual_seed(seed)
    return models.build(name, channels=channels, image_size=image_size, classes=classes)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(("channels", "image_size"), [(1, 28), (3, 64)])
def test_every_model_takes_grey_and_rgb_from_28_pixels_up(
    name: str, channels: int, image_size: int
) -> None:
    model = build(name, channels, image_size, classes=4).eval()
    images = torch.randn(2, channels, image_size, image_size)
    with torch.no_grad():
        logits, features = model(images), model.features(images)
    assert logits.shape == (2, 4) and model.classes == 4
    assert features.ndim == 2
    assert torch.equal(model.head(features), logits)
    assert torch.isfinite(logits).all()


@pytest.mark.parametrize("name", NAMES)
def test_the_default_private_part_is_the_last_linear_layer(name: str) -> None:
    chosen = private_layers.choose(build(name), default=models.spec(name).private)
    assert chosen.private == ("head.weight", "head.bias")
    assert len(chosen.shared) >= 4


@pytest.mark.parametrize("name", NAMES)
def test_every_layer_can_start_afresh_from_a_seed(name: str) -> None:
    model = build(name)
    names = private_layers.choose(model, algorithm="fedavg").shared
    before = torch.random.get_rng_state()
    parameters.reinitialise(model, names, seed=7)
    first = parameters.to_numpy(model, names)
    parameters.reinitialise(model, names, seed=7)
    again = parameters.to_numpy(model, names)
    parameters.reinitialise(model, ["head.weight"], seed=8)
    other = parameters.to_numpy(model, names)
    assert torch.equal(torch.random.get_rng_state(), before)
    assert all(first[name].tobytes() == again[name].tobytes() for name in names)
    assert [name for name in names if first[name].tobytes() != other[name].tobytes()] == [
        "head.weight"
    ]


def test_parameters_go_out_and_come_back() -> None:
    source, target = build("resnet18", seed=1), build("resnet18", seed=2)
    target.to(memory_format=torch.channels_last)
    names = private_layers.choose(source, algorithm="fedavg").shared
    sent = parameters.to_numpy(source, names)
    assert list(sent) == list(names)
    assert all(
        a.dtype == np.float32 and a.flags.c_contiguous and a.flags.owndata for a in sent.values()
    )
    parameters.load(target, sent)
    back = parameters.to_numpy(target, names)
    assert all(sent[name].tobytes() == back[name].tobytes() for name in names)
    back["head.weight"][:] = 9
    assert not (target.head.weight == 9).any(), "the arrays are copies"


@pytest.mark.parametrize(
    ("name", "array", "says"),
    [
        ("head.bias", np.zeros(4, np.float32), "shape"),
        ("head.bias", np.zeros(3, np.float64), "dtype"),
        ("tail.bias", np.zeros(3, np.float32), "tail.bias"),
    ],
)
def test_what_does_not_fit_is_refused_and_nothing_is_written(
    name: str, array: np.ndarray, says: str
) -> None:
    model = build("cnn3")
    before = model.head.weight.clone()
    with pytest.raises(ValueError, match=says):
        parameters.load(
            model, {"head.weight": np.ones(tuple(before.shape), np.float32), name: array}
        )
    assert torch.equal(model.head.weight, before)


def test_grey_weights_answer_like_rgb_ones_on_grey_images() -> None:
    rgb = torch.nn.Conv2d(3, 4, 3, bias=True)
    grey = pretrained.for_channels(rgb, 1)
    image = torch.randn(2, 1, 8, 8)
    assert torch.allclose(grey(image), rgb(image.expand(-1, 3, -1, -1)), atol=1e-5)


class Weights:
    """In place of torchvision's enum: hands out a state, or fails as a machine without a network
    does.
    """

    def __init__(self, state: dict | None) -> None:
        self.state = state

    def get_state_dict(self, **how) -> dict:
        assert how["weights_only"] is True
        if self.state is None:
            raise OSError("no route to host")
        return self.state


def test_downloaded_weights_land_where_they_belong() -> None:
    with torch.device("meta"):
        theirs = torchvision.models.vgg11().features.state_dict()
    body = models.build("vgg11", channels=3, image_size=32, classes=3).body
    state = {f"features.{name}": torch.full(value.shape, 0.5) for name, value in theirs.items()}
    pretrained.load_into(
        body, Weights(state | {"classifier.0.weight": torch.zeros(1)}), prefix="features."
    )
    assert all((parameter == 0.5).all() for parameter in body.parameters())


def test_without_a_network_pretrained_is_refused_in_a_sentence() -> None:
    with pytest.raises(ValueError, match="leave --pretrained out"):
        pretrained.load_into(torch.nn.Linear(1, 1), Weights(None))


def test_half_of_the_papers_cnn_is_private() -> None:
    model = build("cnn3", classes=10)
    share = sum(p.numel() for p in model.head.parameters()) / sum(
        p.numel() for p in model.parameters()
    )
    assert share == pytest.approx(0.54, abs=0.005)


def test_dlg_weights_are_uniform() -> None:
    model = build("lenet-dlg", 1, 32)
    for parameter in model.parameters():
        assert parameter.abs().max() <= 0.5
    assert model.head.weight.std().item() == pytest.approx(1 / 12**0.5, rel=0.05)


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"name": "resnet19"}, "resnet18"),
        ({"channels": 2}, "1 or 3 channels"),
        ({"image_size": 27}, "28"),
        ({"classes": 1}, "two classes"),
        ({"pretrained": True}, "--pretrained"),
    ],
)
def test_a_model_that_cannot_be_is_refused(wrong: dict, says: str) -> None:
    wanted = {"name": "cnn3", "channels": 1, "image_size": 28, "classes": 3} | wrong
    with pytest.raises(ValueError, match=says):
        models.build(wanted.pop("name"), **wanted)
