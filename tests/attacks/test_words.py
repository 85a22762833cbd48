"""What the report says, from rows made by hand."""

from dataclasses import replace as changed

import pytest
from msgspec.structs import replace

from attacks import protected, words
from attacks.cells import Cell
from attacks.methods import find
from attacks.observation import COLLUDING, OTHER_LAYERS, UNCHECKED
from attacks.row import Row, describe

MISSED = {"psnr_median": 9.0, "success_rate": 0.0, "identifiability": 0.0, "control_psnr": 15.0}
FOUND = {"psnr_median": 31.4, "success_rate": 1.0, "identifiability": 1.0, "control_psnr": 15.6}


def row(cell: Cell = Cell(), **figures: object) -> Row:
    return replace(describe(cell, None), steps=1, **figures)


@pytest.mark.parametrize("protection", protected.protecting())
def test_only_a_protection_is_said_to_hold_when_an_attack_fails(protection: str) -> None:
    assert words.verdict(row(**MISSED)) == "nothing"
    assert words.verdict(row(Cell(bits=12), **MISSED)) == "nothing"
    assert words.verdict(row(Cell(protection=protection), **MISSED)) == "holds"


def test_images_that_are_recognisable_leak_and_blurred_ones_do_partly() -> None:
    assert words.verdict(row(**FOUND)) == "leaks"
    assert "recognisable: 100 % of them (31 dB" in words.sentence(row(**FOUND))
    blurred = FOUND | {"psnr_median": 20.0}
    assert words.verdict(row(**blurred)) == "partly"
    assert words.sentence(row(**blurred)).startswith("Blurred images")


def test_an_image_that_can_be_told_apart_is_partly_leaked() -> None:
    apart = row(**MISSED | {"identifiability": 0.5})
    assert words.verdict(apart) == "partly"
    assert "50 % of them which one" in words.sentence(apart)


def test_an_inference_is_judged_by_its_way_from_chance_to_certainty() -> None:
    cell = Cell(attack="membership")
    judged = [
        words.verdict(row(cell, identifiability=auc, chance=0.5)) for auc in (0.55, 0.75, 0.99)
    ]
    assert judged == ["nothing", "partly", "leaks"]
    said = words.sentence(row(cell, identifiability=0.75, chance=0.5))
    assert said == (
        "Told a patient's image from a stranger's in 75 % of pairs; a coin would in 50 %."
    )
    shares = row(Cell(attack="label_distribution"), label_accuracy=1.0, chance=0.8)
    assert words.verdict(shares) == "leaks"
    assert "100 % right; guessing the usual mix is 80 % right" in words.sentence(shares)


def test_a_row_without_figures_says_why() -> None:
    refused = replace(describe(Cell(), None), note="it needs the labels")
    assert words.verdict(refused) == "n/a"
    assert words.sentence(refused) == "Cannot be tried: it needs the labels."


def test_a_refused_lie_holds_and_a_believed_one_does_not() -> None:
    lied = describe(Cell(attack="imprint", adversary=OTHER_LAYERS), None)
    refused = replace(lied, refused=True, note="the hospitals refuse it: other layers")
    assert words.verdict(refused) == "holds"
    assert words.sentence(refused) == "The hospitals refuse it: other layers."
    assert words.verdict(replace(lied, refused=False, note="believed")) == "partly"


@pytest.mark.parametrize(
    ("cell", "theme"),
    [
        (Cell(), words.THEMES[0]),
        (Cell(protection="ckks"), words.THEMES[1]),
        (Cell(adversary=UNCHECKED), words.THEMES[2]),
        (Cell(noise=0.1), words.THEMES[3]),
        (Cell(cut=2), words.THEMES[4]),
        (Cell(state=1), words.THEMES[5]),
        (Cell(model="cnn3"), words.THEMES[6]),
    ],
)
def test_every_cell_has_its_heading(cell: Cell, theme: str) -> None:
    assert words.theme(cell) == theme


def test_a_setting_is_said_in_words() -> None:
    assert words.setting(Cell()) == "FLOP · unprotected · lenet-dlg"
    assert words.setting(Cell(bits=12)) == "FLOP · unprotected, 12 bits · lenet-dlg"
    pair = Cell(protection="masked", cohort=2, adversary=COLLUDING, cut=2)
    assert words.setting(pair) == (
        "FLOP, last 2 layers private · masked · cohort of 2 · lenet-dlg ·"
        " one hospital helps the coordinator"
    )
    real = Cell(algorithm="fedavg", cut=0, model="resnet18", batch=8, optimizer="adam", state=2)
    assert words.setting(real) == (
        "FedAvg · unprotected · resnet18 · 8 images at once · Adam · after 2 rounds ·"
        " BatchNorm in train mode"
    )


def test_the_headline_has_nothing_to_say_of_no_rows() -> None:
    assert words.headline([]) == []


def test_the_headline_names_the_best_attack_and_every_protection() -> None:
    masked = Cell(protection="masked", cohort=5)
    rows = [
        row(**FOUND),
        row(Cell(attack="flop_naive"), **MISSED),
        row(masked, **MISSED),
        row(changed(masked, cohort=2, adversary=COLLUDING), **FOUND),
        row(Cell(batch=8, optimizer="adam"), **MISSED),
    ]
    said = "\n".join(words.headline(rows))
    assert "the adaptive attack reaches 31 dB knowing neither head nor label" in said
    assert "guesses the head reaches 9 dB" in said
    assert "masked: 9 dB at most, best guess 15 dB." in said
    assert "masked with a cohort of 2 and a colluding hospital: 31 dB, as bad as no mask." in said
    assert "9 dB at most, best guess 15 dB; these attacks fail there." in said


def test_an_attack_that_found_nothing_is_not_headlined_as_a_finding() -> None:
    assert words.finding(find("varpro"), [row(**MISSED)]) is None
    assert words.finding(find("dlg"), [row(Cell(attack="dlg"), **FOUND)]) is None


def test_the_finding_of_an_attack_counts_the_lies_that_were_refused() -> None:
    block = Cell(attack="imprint", adversary=UNCHECKED)
    lied = describe(changed(block, adversary=OTHER_LAYERS), None)
    rows = [row(block, **FOUND), replace(lied, refused=True), replace(lied, refused=False)]
    said = words.finding(find("imprint"), rows)
    assert said and "reads 100 % of a batch (31 dB)" in said
    assert "refused 1 of its 2 ways in" in said
