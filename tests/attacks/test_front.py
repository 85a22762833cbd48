"""`flop.attack`: one attack from Python, on an observation or on what a run recorded."""

from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure
from torch import nn

from attacks.front import Leak, attack
from attacks.recorded import load
from federation.errors import ConfigError
from tests.attacks.victims import SIZE, cases, pictures

LABELS = np.array([1, 0])


def leak(**asked: object) -> Leak:
    [case] = cases(pictures(1), LABELS[:1])
    return attack("varpro", case.observation, steps=3, restarts=1, device="cpu", **asked)


def test_one_observation_gives_one_image_and_no_label_that_nobody_can_know() -> None:
    found = leak()
    assert found.images is not None and found.images.shape == (1, 1, 1, SIZE, SIZE)
    assert found.labels is None and found.scores is None and found.membership is None
    assert "varpro (adaptive" in repr(found) and "images (1, 1, 1, 28, 28)" in repr(found)
    assert "dB" not in repr(found)


def test_with_the_truth_there_are_scores_and_a_picture_of_both() -> None:
    images = pictures(1)
    found = leak(truth=images)
    assert found.scores is not None and len(found.scores) == 1
    assert f"median PSNR {found.scores[0].psnr:.1f} dB" in repr(found)
    figure = found.show()
    assert isinstance(figure, Figure) and len(figure.axes) == 2
    assert len(leak().show().axes) == 1
    assert found._repr_png_().startswith(b"\x89PNG")


def test_truth_may_be_bytes_or_numbers_between_0_and_1() -> None:
    images = pictures(1)
    one, two = leak(truth=images), leak(truth=images / 255.0)
    assert one.scores == two.scores


def test_several_observations_of_a_recorded_run_take_what_the_config_tells(
    recorded: Path,
) -> None:
    seen = load(recorded, 1)
    found = attack("varpro", seen, steps=1, restarts=1)
    assert [len(names) for names in found.hospitals] == [1, 1, 1]
    assert found.images is not None and len(found.images) == 3
    case = seen[0].case(images=2)
    assert case.knowledge.learning_rate == 0.1 and case.knowledge.local_steps == 2
    assert case.knowledge.optimizer == "sgd"


def test_membership_and_label_shares_have_answers_and_figures_of_their_own() -> None:
    images = pictures(4)
    [case] = cases(images[:2], LABELS, batch=2)
    found = attack("membership", case.observation, candidates=images / 255.0, images=2)
    assert found.membership is not None and found.membership.shape == (1, 4)
    assert found.images is None and found.scores is None
    assert isinstance(found.show(), Figure)
    [case] = cases(images[:2], LABELS, batch=2, algorithm="fedavg")
    shadow = (images / 255.0, np.zeros(4, np.int64))
    shares = attack(
        "label_distribution", case.observation, shadow=shadow, learning_rate=0.1, local_steps=1
    )
    assert shares.label_shares is not None and shares.label_shares.sum() == pytest.approx(1)
    assert isinstance(shares.show(), Figure)


@pytest.mark.parametrize(
    ("name", "asked", "sentence"),
    [
        ("magic", {}, "no attack is called 'magic'; choose one of dlg"),
        ("dlg", {}, "it needs the update of every layer"),
        ("varpro", {"device": "tpu"}, "no device is called 'tpu'"),
        ("varpro", {"colour": 1}, "colour is nothing that an attacker can know; choose among"),
        ("varpro", {"truth": [np.zeros((1, 1, 28, 28))] * 2}, "images of 2 observations, but 1"),
    ],
)
def test_a_wrong_use_is_answered_in_one_sentence(
    name: str, asked: dict[str, object], sentence: str
) -> None:
    [case] = cases(pictures(1), LABELS[:1])
    with pytest.raises(ConfigError, match=sentence):
        attack(name, case.observation, **{"steps": 1, "restarts": 1, **asked})


def test_the_front_door_knows_the_name() -> None:
    import flop

    assert flop.attack is attack


def test_a_module_of_ones_own_is_attacked_as_it_is() -> None:
    from attacks.observation import Observation
    from learning import models

    class Mine(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first = nn.Conv2d(1, 4, 5, stride=4)
            self.head = nn.Linear(4 * 36, 2)

        def forward(self, x):
            return self.head(self.first(x).sigmoid().flatten(1))

    mine = Mine()
    shared = {n: p.detach().numpy() for n, p in mine.named_parameters() if n.startswith("first")}
    coins = np.random.default_rng(0)
    update = {n: coins.normal(0, 1, v.shape).astype(np.float32) for n, v in shared.items()}
    seen = Observation(models.OWN, 1, 28, shared, update, frozenset({"head.weight", "head.bias"}))
    found = attack("varpro", seen, model=mine, steps=1, restarts=1)
    assert found.images is not None and found.images.shape == (1, 1, 1, 28, 28)
    with pytest.raises(ConfigError, match="pass the same module"):
        attack("varpro", seen, steps=1)
