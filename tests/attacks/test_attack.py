"""What every attack says about itself, and what it is run with."""

from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest
import torch

from attacks import methods, words
from attacks.cells import Cell
from attacks.kinds import KINDS, kind_of
from attacks.methods import ATTACKS, FILES, Answer, Attack, Load, Reconstruction, Settings, Settled
from attacks.methods._attack import EVERY_LAYER, Finding
from attacks.observation import NEEDS, MissingKnowledge
from attacks.row import Row, describe
from tests.attacks.victims import cases, pictures

EVERY = pytest.mark.parametrize("attack", ATTACKS.values(), ids=lambda attack: attack.name)
LABELS = np.array([0, 1])


def test_every_file_with_an_attack_is_registered_under_its_name() -> None:
    folder = Path(methods.__path__[0])
    there = {path.stem for path in folder.glob("*.py") if not path.stem.startswith("_")}
    assert set(FILES) == there == set(ATTACKS)


@EVERY
def test_an_attack_says_what_it_is_and_where_it_is_from(attack: Attack[Answer]) -> None:
    assert attack.title and attack.paper
    assert attack.needs <= set(NEEDS)


def test_titles_tell_the_attacks_apart() -> None:
    assert len({attack.title for attack in ATTACKS.values()}) == len(ATTACKS)


@EVERY
def test_an_attacks_cells_change_fields_that_a_cell_has(attack: Attack[Answer]) -> None:
    known = {field.name for field in fields(Cell)}
    changes = (*attack.cells, *attack.cells_per_model, *attack.cells_per_batchnorm_model)
    assert all(set(change) <= known for change in changes)


@EVERY
def test_an_attack_on_every_layer_asks_for_cells_that_share_every_layer(
    attack: Attack[Answer],
) -> None:
    if "full_update" in attack.needs:
        changes = (*attack.cells, *attack.cells_per_model, *attack.cells_per_batchnorm_model)
        assert all(EVERY_LAYER.items() <= change.items() for change in changes)
        assert set(attack.product) <= {"fedavg"}


@EVERY
def test_an_attacks_steps_are_never_made_fewer(attack: Attack[Answer]) -> None:
    for load in (Load(10_000, True, 1), Load(10_000, False, 8), Load(10_000_000, False, 1)):
        assert attack.effort(load) >= 1


@EVERY
def test_an_attacks_answer_has_a_scorer(attack: Attack[Answer]) -> None:
    assert kind_of(attack) is KINDS[attack.answers]


@EVERY
def test_an_attacks_finding_can_be_filled_from_a_row(attack: Attack[Answer]) -> None:
    if attack.finding is None:
        return
    figures = {"psnr_median": 30.0, "control_psnr": 15.0, "success_rate": 1.0}
    row = Row(**{**describe_as_dict(Cell(attack=attack.name)), **figures})
    assert "30 dB" in (words.finding(attack, [row]) or "")


def describe_as_dict(cell: Cell) -> dict[str, object]:
    row = describe(cell, None)
    return {name: getattr(row, name) for name in row.__struct_fields__}


def test_a_finding_of_another_setting_is_not_filled() -> None:
    attack = replace(ATTACKS["dlg"], finding=Finding("{psnr_median:.0f}", where={"batch": 8}))
    figures = {"psnr_median": 30.0, "control_psnr": 15.0, "success_rate": 1.0}
    row = Row(**{**describe_as_dict(Cell(attack="dlg")), **figures})
    assert words.finding(attack, [row]) is None


# ---- settings ------------------------------------------------------------------------


def test_what_is_not_asked_for_stays_the_attacks_own() -> None:
    own = Settled(steps=7, restarts=3, lr=0.2, tv=0.1, tolerance=-1.0, dtype=torch.float64)
    assert Settings().settle(own) == own


def test_what_is_asked_for_wins_even_if_it_is_zero() -> None:
    asked = Settings(steps=1, restarts=2, lr=0.5, tv=0.0, tolerance=0.0, dtype=torch.float32)
    settled = asked.settle(Settled(steps=9, tv=0.3, tolerance=0.5, dtype=torch.float64))
    assert (settled.steps, settled.restarts, settled.lr) == (1, 2, 0.5)
    assert (settled.tv, settled.tolerance, settled.dtype) == (0.0, 0.0, torch.float32)


def test_device_seed_and_progress_are_the_callers() -> None:
    told: list[tuple[int, int]] = []
    settled = Settings(device="meta", seed=4, progress=lambda *at: told.append(at)).settle(
        Settled(seed=9)
    )
    assert (settled.device, settled.seed) == ("meta", 4)
    assert settled.progress is not None
    settled.progress(1, 2)
    assert told == [(1, 2)]


def test_every_setting_of_an_attack_can_be_asked_for() -> None:
    assert {f.name for f in fields(Settings)} == {f.name for f in fields(Settled)}


def test_the_same_seed_draws_the_same_start() -> None:
    first, second = (torch.rand(3, generator=Settled(seed=5).generator()) for _ in range(2))
    assert torch.equal(first, second)
    assert not torch.equal(first, torch.rand(3, generator=Settled(seed=6).generator()))


# ---- running one ---------------------------------------------------------------------


def answer(**settings: object) -> Attack[Reconstruction]:
    """An attack that answers with what it was given."""

    def method(given: object, settled: Settled) -> Reconstruction:
        return Reconstruction(steps=settled.steps, seconds=0.0, images=np.zeros((1, 1, 1, 2, 2)))

    return Attack(
        "given", "", "", frozenset({"learning_rate"}), Reconstruction, method, Settled(steps=11)
    )


def test_an_attack_runs_with_its_own_settings_unless_others_are_asked_for() -> None:
    [case] = cases(pictures(1), LABELS[:1], learning_rate=0.1)
    assert answer().run([case]).steps == 11
    assert answer().run([case], Settings(steps=2)).steps == 2


def test_an_attack_refuses_to_run_on_nothing() -> None:
    with pytest.raises(ValueError, match="attack given: there is no case"):
        answer().run([])


def test_a_single_case_that_lacks_something_refuses_the_batch() -> None:
    [one] = cases(pictures(1), LABELS[:1], learning_rate=0.1)
    [other] = cases(pictures(1), LABELS[:1])
    with pytest.raises(MissingKnowledge, match="it needs the learning rate"):
        answer().run([one, other])
