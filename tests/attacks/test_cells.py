"""What a cell is, which cells there are, and what a model says for itself."""

from dataclasses import replace

import pytest
from torch import nn

from attacks import cells, protected
from attacks.cells import Cell
from attacks.methods import ATTACKS
from attacks.observation import COLLUDING
from learning import models
from learning.models.classifier import Classifier

BASE = Cell(images=2, steps=10)


def tiny(*, channels: int, image_size: int, classes: int, pretrained: bool) -> Classifier:
    """A model with BatchNorm that nothing in attacks has heard of."""
    body = nn.Sequential(nn.Conv2d(channels, 2, 3), nn.BatchNorm2d(2), nn.ReLU())
    neck = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
    return Classifier(body, neck, nn.Linear(2, classes))


@pytest.fixture
def tinybn(monkeypatch: pytest.MonkeyPatch) -> str:
    spec = models.ModelSpec("tinybn", f"{__name__}:tiny", "a test's own")
    monkeypatch.setitem(models.REGISTRY, "tinybn", spec)
    return "tinybn"


def test_a_new_batchnorm_model_trains_in_train_mode(tinybn: str) -> None:
    assert Cell(model=tinybn, batch=4).mode == "train"


def test_one_image_and_frozen_batchnorm_use_the_running_statistics(tinybn: str) -> None:
    assert Cell(model=tinybn, batch=1).mode == "eval"
    assert Cell(model=tinybn, batch=4, frozen=True).mode == "eval"


def test_a_model_without_batchnorm_has_no_train_mode() -> None:
    assert Cell(model="lenet-dlg", batch=4).mode == "eval"


def test_a_new_batchnorm_model_gets_the_cells_of_batchnorm(tinybn: str) -> None:
    found = [cell for cell in cells.default(BASE, (tinybn,)) if cell.model == tinybn]
    assert {cell.attack for cell in found} == {"inverting_gradients", "gradinversion"}
    assert {cell.mode for cell in found} == {"train", "eval"}


def test_the_default_matrix_begins_with_the_base_and_has_no_cell_twice() -> None:
    found = cells.default(BASE)
    assert found[0] == BASE
    assert len({cell.key for cell in found}) == len(found)


def test_every_attack_but_those_for_batchnorm_is_in_the_default_matrix() -> None:
    found = {cell.attack for cell in cells.default(BASE)}
    assert found == {attack.name for attack in ATTACKS.values() if attack.cells}


def test_every_protection_is_in_the_default_matrix_and_a_sum_also_with_a_colluder() -> None:
    found = cells.default(BASE)
    for name in protected.protecting():
        hidden = [cell for cell in found if cell.protection == name]
        assert any(cell.cohort == 5 for cell in hidden)
        assert any(cell.adversary == COLLUDING for cell in hidden) == protected.reads_sums(name)


def test_a_key_depends_on_every_field_and_on_nothing_else() -> None:
    assert Cell().key == Cell().key
    others = [replace(Cell(), seed=1), replace(Cell(), bits=12), replace(Cell(), attack="dlg")]
    assert len({Cell().key, *(cell.key for cell in others)}) == 4


def test_bits_are_float32_unless_a_protection_or_the_cell_says_otherwise() -> None:
    assert Cell().coded_bits == 0
    assert Cell(bits=12).coded_bits == 12
    assert Cell(protection="masked").coded_bits == cells.BITS


@pytest.mark.parametrize(
    ("changed", "lr"),
    [({}, 0.1), ({"local_steps": 5}, 0.02), ({"state": 1}, 1e-3), ({"optimizer": "adam"}, 1e-3)],
)
def test_the_rate_leaves_something_to_learn(changed: dict[str, object], lr: float) -> None:
    assert replace(Cell(), **changed).lr == lr


def test_cheap_steps_are_more_and_large_models_get_fewer_images() -> None:
    eight = replace(BASE, images=8)
    assert cells.affordable(eight) == eight
    assert cells.affordable(replace(eight, attack="dlg")).steps == 40
    assert cells.affordable(replace(eight, attack="inverting_gradients_multistep")).steps == 20
    large = cells.affordable(replace(eight, model="resnet18", batch=4, attack="dlg"))
    assert (large.images, large.steps) == (4, 10)


def test_a_network_with_kinks_is_searched_longer_unless_it_has_a_batch() -> None:
    relu = replace(BASE, model="lenet-dlg-relu")
    assert cells.affordable(relu).steps == 40
    assert cells.affordable(replace(relu, batch=4)).steps == 10


def test_without_a_number_of_steps_the_attacks_own_stay() -> None:
    assert cells.affordable(replace(BASE, attack="dlg", steps=None)).steps is None


def test_the_longest_cell_is_begun_first() -> None:
    assert cells.cost(replace(BASE, model="resnet18")) > cells.cost(replace(BASE, batch=8))
    assert cells.cost(replace(BASE, batch=8)) > cells.cost(BASE)


def test_the_full_matrix_has_no_noise_behind_a_protection_and_no_head_attack_under_fedavg() -> None:
    found = cells.full_matrix(BASE, ("lenet-dlg",))
    assert not [c for c in found if c.noise is not None and c.protection != "plain"]
    assert {c.attack for c in found if c.algorithm == "flop"} == {
        "flop_naive",
        "varpro",
        "oracle_head",
    }
    assert "oracle_head" not in {c.attack for c in found if c.algorithm == "fedavg"}
    assert len({c.key for c in found}) == len(found)
