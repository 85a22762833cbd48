"""Scoring: perfect answers get the best figures, and blind guesses count for nothing."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from attacks import kinds
from attacks.cells import Cell
from attacks.kinds import KINDS, Scene, kind_of
from attacks.kinds.images import crossing
from attacks.methods import (
    Answer,
    Attack,
    LabelShares,
    Membership,
    Reconstruction,
    Settings,
    Settled,
)
from attacks.observation import Case, Observation, SideKnowledge
from attacks.pictures import Pictures
from attacks.row import Row, describe
from attacks.trials import Trial, Truth
from learning.data import arrays
from tests.attacks.victims import SIZE, pictures, truth

IMAGES = pictures(4, seed=1)
OTHERS = pictures(6, seed=2)
LABELS = np.array([0, 1, 1, 2])
PICTURES = Pictures(
    "waves",
    ("a", "b", "c"),
    IMAGES,
    LABELS,
    OTHERS,
    np.array([0, 1, 2, 0, 1, 2]),
    arrays(IMAGES, LABELS),
)


def trial(rows: Sequence[int]) -> Trial:
    """A victim whose update is its own number, so that an attack can know whom it attacks."""
    update = {"a": np.array([float(rows[0])])}
    seen = Observation("lenet-dlg", 1, SIZE, update, update)
    part = list(rows)
    return Trial(seen, Truth(truth(IMAGES[part]), LABELS[part], ({},) * len(part)))


def scene(answers: type[Answer], method: Any, *victims: Sequence[int]) -> Scene[Any]:
    trials = [trial(rows) for rows in victims]
    known = SideKnowledge(batch_size=len(victims[0]))
    attack = Attack[Any]("mine", "", "", frozenset({"update"}), answers, method)
    cases = [Case(one.observation, known) for one in trials]
    return Scene(Cell(), attack, PICTURES, trials, cases, Settings())


def measured(answers: type[Answer], method: Any, *victims: Sequence[int]) -> Row:
    what = scene(answers, method, *victims)
    row, _ = kind_of(what.attack).measure(what, describe(Cell(), None))
    return row


def whom(case: Case) -> int:
    return int(case.observation.readable["a"][0])


def reading(cases: Sequence[Case], settings: Settled) -> Reconstruction:
    """Finds what the update says, in reversed order."""
    found = [truth(IMAGES[whom(c) : whom(c) + c.images])[::-1] for c in cases]
    labels = [LABELS[whom(c) : whom(c) + c.images][::-1] for c in cases]
    return Reconstruction(steps=3, seconds=0.25, images=np.stack(found), labels=np.stack(labels))


def blind(cases: Sequence[Case], settings: Settled) -> Reconstruction:
    grey = np.full((len(cases), cases[0].images, 1, SIZE, SIZE), 0.5)
    return Reconstruction(steps=1, seconds=0.0, images=grey)


def test_a_perfect_reconstruction_is_exact_and_a_success_whatever_its_order() -> None:
    row = measured(Reconstruction, reading, [0, 1], [2, 3])
    assert (row.psnr_median, row.success_rate, row.label_accuracy) == (120, 1, 1)
    assert row.identifiability == 1 and row.ssim_median == pytest.approx(1, abs=1e-3)
    assert (row.images, row.steps, row.seconds) == (4, 3, 0.25)


def test_anothers_update_is_a_control_and_shows_another_image() -> None:
    row = measured(Reconstruction, reading, [0, 1], [2, 3])
    assert row.control_unrelated is not None and row.control_unrelated < 30
    assert row.control_psnr is not None and row.control_psnr >= row.control_unrelated


def test_a_single_victim_has_no_other_to_be_compared_with() -> None:
    row = measured(Reconstruction, reading, [0, 1])
    assert row.control_unrelated is None and row.control_grey is not None


def test_a_guess_is_no_success_and_gives_no_labels() -> None:
    row = measured(Reconstruction, blind, [0], [1], [2])
    assert row.success_rate == 0 and row.label_accuracy is None
    assert row.psnr_median == row.control_grey


def test_the_panel_pairs_each_original_with_its_reconstruction() -> None:
    what = scene(Reconstruction, reading, [0, 1], [2, 3])
    _, panel = kind_of(what.attack).measure(what, describe(Cell(), None))
    assert panel is not None and set(panel) == {"truth", "found", "unrelated", "mean"}
    np.testing.assert_array_equal(panel["truth"], panel["found"])
    assert panel["mean"].shape == (1, 1, SIZE, SIZE)


def test_a_crossed_case_keeps_its_knowledge_and_has_anothers_update() -> None:
    one, other = (Case(trial([i]).observation, SideKnowledge(batch_size=i)) for i in (1, 2))
    crossed = crossing(one, other)
    assert whom(crossed) == 2 and crossed.knowledge.batch_size == 1


def test_membership_that_knows_its_members_is_certain() -> None:
    def knowing(cases: Sequence[Case], settings: Settled) -> Membership:
        return Membership(steps=1, seconds=0.0, scores=np.array([[2.0, 1.0, 0.5, 0.1]] * 2))

    row = measured(Membership, knowing, [0, 1], [2, 3])
    assert (row.identifiability, row.chance) == (1, 0.5)


def test_membership_that_scores_all_alike_is_chance() -> None:
    def equal(cases: Sequence[Case], settings: Settled) -> Membership:
        return Membership(steps=1, seconds=0.0, scores=np.ones((1, 4)))

    assert measured(Membership, equal, [0, 1]).identifiability == 0.5


def test_label_shares_that_are_right_are_certain_and_the_usual_mix_is_chance() -> None:
    def knowing(cases: Sequence[Case], settings: Settled) -> LabelShares:
        return LabelShares(steps=1, seconds=0.0, shares=np.array([[0.25, 0.5, 0.25]]))

    def usual(cases: Sequence[Case], settings: Settled) -> LabelShares:
        return LabelShares(steps=1, seconds=0.0, shares=np.full((1, 3), 1 / 3))

    row = measured(LabelShares, knowing, [0, 1, 2, 3])
    assert row.label_accuracy == 1 and row.chance == pytest.approx(1 - 1 / 6, abs=1e-4)
    guess = measured(LabelShares, usual, [0, 1, 2, 3])
    assert guess.label_accuracy == pytest.approx(guess.chance, abs=1e-4)


ANSWERS = {
    Reconstruction: Reconstruction(
        steps=1, seconds=0.0, images=np.zeros((2, 1, 1, 8, 8)), objective=np.array([0.5, 0.25])
    ),
    Membership: Membership(steps=1, seconds=0.0, scores=np.ones((1, 2))),
    LabelShares: LabelShares(steps=1, seconds=0.0, shares=np.ones((1, 2)) / 2),
}


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_every_kind_is_written_to_a_folder_and_told_to_programs(
    kind: type[Answer], tmp_path: Path
) -> None:
    KINDS[kind].save(ANSWERS[kind], tmp_path)
    assert list(tmp_path.glob("*.png"))
    facts = KINDS[kind].facts(ANSWERS[kind])
    assert facts and json.loads(json.dumps(facts)) == facts
    assert KINDS[kind].draw(ANSWERS[kind], None).png.startswith(b"\x89PNG")


def test_an_attack_with_an_answer_that_nobody_scores_is_an_error() -> None:
    class Unheard(Answer):
        pass

    attack = Attack[Any]("mine", "", "", frozenset(), Unheard, blind)
    with pytest.raises(KeyError):
        kinds.kind_of(attack)


def test_the_chance_of_nothing_is_not_judged() -> None:
    row = replace_row(describe(Cell(attack="membership"), None), identifiability=None)
    assert KINDS[Membership].verdict(row) == "n/a"


def replace_row(row: Row, **figures: object) -> Row:
    import msgspec

    return msgspec.structs.replace(row, **figures)
