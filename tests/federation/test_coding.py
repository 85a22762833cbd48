"""How an update becomes integers and a sum becomes a mean again."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from federation.coding import MOST_CLASSES_COUNTED, Coding, Contribution
from federation.errors import OutOfRange
from federation.layout import Layout
from tests.rig import config, start_model

LAYOUT = start_model().layout
CLIPS = np.array([0.25, 0.5], np.float32)


def coding(**changes: object) -> Coding:
    kind = "plain" if changes.get("bits") == 0 else "masked"
    return Coding.of(config(kind, 5, **changes), LAYOUT)


def given_by(number: int, **changes: object) -> Contribution:
    update = np.random.default_rng(number).uniform(-0.2, 0.2, LAYOUT.size).astype(np.float32)
    made = Contribution(update, 10 + number, 3, (number, 1, 0, 2), CLIPS, bytes([number]) * 32)
    return replace(made, **changes)  # type: ignore[arg-type]


@pytest.mark.parametrize(("bits", "ring"), [(12, 16), (16, 24), (16, 32), (24, 32), (8, 16)])
def test_the_sum_of_what_is_sent_is_the_sum_of_the_integers(bits: int, ring: int) -> None:
    code = coding(bits=bits, ring=ring)
    total = np.zeros(code.elements, code.ring_type.dtype)
    plain = np.zeros(code.elements, np.int64)
    for number in range(5):
        wire = code.protect(given_by(number)).wire
        assert len(wire) == code.wire_bytes == code.elements * ring // 8
        code.ring_type.add_into(total, wire)
        plain += code.integers(given_by(number))[0]
    assert np.array_equal(code.ring_type.signed(total), plain)
    found = code.decode(code.ring_type.signed(total), 5)
    assert (found.survivors, found.examples, found.steps, found.confusion) == (
        5,
        60,
        15,
        (10, 5, 0, 10),
    )
    step = CLIPS / code.fixed_point.levels
    mean = np.mean([given_by(number).update for number in range(5)], axis=0)
    steps = np.repeat(step, LAYOUT.lengths)
    assert (np.abs(code.mean(found, CLIPS) - mean) <= steps).all()


def test_float32_sums_are_float32_sums() -> None:
    code = coding(bits=0)
    total = np.zeros(code.elements, "<f4")
    for number in range(5):
        wire = code.protect(given_by(number)).wire
        assert len(wire) == code.wire_bytes == 4 * code.elements
        total += np.frombuffer(wire, "<f4")
    found = code.decode(total, 5)
    assert (found.examples, found.steps, found.confusion, found.clipped) == (
        60,
        15,
        (10, 5, 0, 10),
        0,
    )
    expected = np.zeros(LAYOUT.size, np.float32)
    for number in range(5):
        expected += given_by(number).update
    np.testing.assert_array_equal(
        code.mean(found, CLIPS), (expected / np.float32(5)).astype(np.float32)
    )


def test_a_weighted_mean_is_weighted_by_examples() -> None:
    code = coding(bits=16, ring=32, weighting="examples", max_examples=64)
    total = np.zeros(code.elements, np.int64)
    for number in (1, 4):
        total += code.integers(given_by(number, examples=16 * number))[0]
    found = code.decode(total, 2)
    expected = np.average([given_by(number).update for number in (1, 4)], axis=0, weights=[16, 64])
    np.testing.assert_allclose(
        code.mean(found, CLIPS), expected, atol=4 * float(CLIPS.max()) / code.fixed_point.levels
    )


def test_clipped_values_are_counted_in_the_sum() -> None:
    code = coding()
    update = given_by(0).update.copy()
    update[:2] = 9.0
    integers, clipped = code.integers(given_by(0, update=update))
    assert clipped == code.protect(given_by(0, update=update)).clipped == 2
    assert code.decode(integers, 1).clipped == 2 and integers[0] == code.fixed_point.levels


def test_many_classes_have_no_confusion_matrix() -> None:
    names = tuple(f"c{number}" for number in range(MOST_CLASSES_COUNTED + 1))
    base = config("masked", 5)
    many = type(base)(
        federation=base.federation, model=type(base.model)(classes=names, start_digest="0" * 64)
    )
    assert Coding.of(many, LAYOUT).confusion == 0
    few = type(base)(
        federation=base.federation,
        model=type(base.model)(classes=names[:-1], start_digest="0" * 64),
    )
    assert Coding.of(few, LAYOUT).confusion == MOST_CLASSES_COUNTED**2


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"update": np.full(LAYOUT.size, np.nan, np.float32)}, "NaN"),
        ({"update": np.full(LAYOUT.size, np.inf, np.float32)}, "NaN|infinit"),
        ({"update": np.zeros(3, np.float32)}, f"an update of {LAYOUT.size} elements is needed"),
        (
            {"update": np.zeros((LAYOUT.size, 1), np.float32)},
            f"an update of {LAYOUT.size} elements is needed",
        ),
        ({"update": np.zeros(LAYOUT.size, np.float64)}, "float32"),
        ({"confusion": (1, 2, 3)}, "4 confusion counts are needed, got 3"),
        ({"confusion": (1, 2, 3, -1)}, "a count lies in 0"),
        ({"examples": -1}, "a count lies in 0"),
        ({"steps": 2**48}, "a count lies in 0"),
        ({"clips": np.array([0.25], np.float32)[:0]}, "clips"),
        ({"clips": np.array([0.25, 0.0], np.float32)}, "a clip is a positive finite number"),
    ],
)
def test_what_cannot_be_coded_is_refused_by_its_owner(
    changes: dict[str, object], words: str
) -> None:
    for make in (coding().protect, coding().integers):
        with pytest.raises(OutOfRange, match=words):
            make(given_by(1, **changes))


@pytest.mark.parametrize("examples", [0, 65, 10**9])
def test_a_weight_out_of_range_is_refused_by_its_owner(examples: int) -> None:
    code = coding(weighting="examples", max_examples=64)
    for refuse in (code.check, code.protect, code.integers):
        with pytest.raises(
            OutOfRange,
            match=rf"{examples} examples; weighting takes 1 to protection\.max_examples = 64",
        ):
            refuse(given_by(1, examples=examples))
    coding().check(given_by(1, examples=examples))  # without weighting it is only a count


@pytest.mark.parametrize("survivors", [1, 4])
def test_a_sum_out_of_the_survivors_range_is_refused(survivors: int) -> None:
    code = coding(weighting="examples", max_examples=64)
    total = sum(
        code.integers(given_by(number, examples=64))[0].astype(np.int64)
        for number in range(survivors)
    )
    assert code.decode(total, survivors).examples == 64 * survivors
    bound = survivors * code.fixed_point.levels
    for at, value in ((0, bound + 1), (3, -bound - 1), (LAYOUT.size, -1)):
        wrong = total.copy()
        wrong[at] = value
        with pytest.raises(OutOfRange):
            code.decode(wrong, survivors)
    for examples in (65 * survivors, 0):  # more than all together can have, or less than one each
        wrong = total.copy()
        wrong[LAYOUT.size : LAYOUT.size + 5] = 0
        wrong[LAYOUT.size] = examples
        with pytest.raises(
            OutOfRange, match=rf"{survivors} hospitals cannot have {examples} examples"
        ):
            code.decode(wrong, survivors)
    with pytest.raises(OutOfRange, match="elements is needed"):
        code.decode(total[:-1], survivors)


def test_a_float_sum_with_nan_or_broken_counts_is_refused() -> None:
    code = coding(bits=0)
    good = np.frombuffer(code.protect(given_by(1)).wire, "<f4").copy()
    for at, value in (
        (0, np.nan),
        (1, np.inf),
        (LAYOUT.size, 0.5),
        (LAYOUT.size + 1, -1.0),
        (LAYOUT.size, np.nan),
    ):
        wrong = good.copy()
        wrong[at] = value
        with pytest.raises(OutOfRange):
            code.decode(wrong, 1)


@settings(max_examples=60, deadline=None)
@given(st.integers(2, 13), st.integers(1, 8), st.integers(0, 2**32 - 1))
def test_any_sum_of_coded_vectors_is_within_range(bits: int, parties: int, seed: int) -> None:
    layout = Layout(("a", "b"), ((3,), (4,)))
    code = Coding(
        bits=bits,
        ring=16,
        parties=parties,
        lengths=layout.lengths,
        confusion=1,
        max_examples=9,
        weighted=False,
    )
    draw = np.random.default_rng(seed)
    total = np.zeros(code.elements, np.int64)
    for _ in range(parties):
        update = draw.normal(0, 1, 7).astype(np.float32)
        total += code.integers(
            Contribution(update, int(draw.integers(2**48)), 0, (2**48 - 1,), CLIPS, draw.bytes(32))
        )[0]
    assert np.array_equal(code.ring_type.signed(total.astype(np.uint16)), total)  # nothing wraps
    assert code.decode(total, parties).confusion == (parties * (2**48 - 1),)
