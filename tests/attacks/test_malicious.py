"""The imprint block's ways in, tried on the product's own hospitals."""

import pytest

from attacks import malicious, observation, words
from attacks.cells import Cell
from attacks.measure import measure
from attacks.pictures import take
from simulation.run.options import Options

SHOWN = take("phantom-cxr", 3, image_size=28)
FEDERATION = Options.of(
    model="lenet-dlg",
    image_size=28,
    algorithm="flop",
    protection="masked",
    bits=12,
    hospitals=3,
    rounds=1,
    batch_size=1,
    device="cpu",
)


def test_a_start_with_other_layers_is_refused_though_its_digest_fits() -> None:
    assert "other layers" in malicious.other_layers(SHOWN, FEDERATION)


def test_a_start_with_other_numbers_is_refused_because_of_its_digest() -> None:
    assert "SHA-256" in malicious.another_start(SHOWN, FEDERATION)


@pytest.mark.parametrize("protection", ["masked", "ckks", "masked+ckks"])
def test_an_aggregate_with_one_number_changed_is_refused_because_of_its_tag(
    protection: str,
) -> None:
    assert "not the sum" in malicious.another_aggregate(
        SHOWN, FEDERATION.but(protection=protection)
    )


def test_under_plain_it_is_believed() -> None:
    """Nothing proves a sum there: the row says so, and its colour is not green."""
    assert malicious.another_aggregate(SHOWN, FEDERATION.but(protection="plain")) == ""


@pytest.mark.parametrize(
    ("adversary", "protection", "verdict"),
    [
        (observation.OTHER_LAYERS, "masked", "holds"),
        (observation.OTHER_START, "masked", "holds"),
        (observation.OTHER_AGGREGATE, "masked", "holds"),
        (observation.OTHER_AGGREGATE, "plain", "partly"),
    ],
)
def test_the_rows_say_what_the_hospitals_said(
    adversary: str, protection: str, verdict: str
) -> None:
    cell = Cell(
        attack="imprint",
        adversary=adversary,
        protection=protection,
        cohort=3,
        image_size=28,
        images=2,
    )
    row, panel = measure(cell)
    assert panel is None and row.psnr_median is None
    assert words.verdict(row) == verdict
    assert words.sentence(row).startswith("The hospitals")


def test_where_nothing_is_checked_the_block_reads_the_images() -> None:
    row, _ = measure(
        Cell(attack="imprint", adversary=observation.UNCHECKED, image_size=28, images=4)
    )
    assert row.psnr_median > row.control_psnr + 10
