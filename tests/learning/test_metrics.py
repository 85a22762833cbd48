"""Figures of confusion counts, against numbers worked out by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from learning.metrics import (
    METRICS,
    Metric,
    accuracy_interval,
    measure,
    normal_half_width,
    sensitivity,
    sentence,
    wilson,
)

NONE = np.zeros((3, 3), np.int64)


def test_the_figures_of_summed_counts() -> None:
    counts = np.array([[3, 1, 0], [0, 0, 0], [0, 0, 0]]) + np.array(
        [[1, 0, 1], [1, 3, 0], [0, 0, 0]]
    )
    found = measure(counts)
    assert found["accuracy"] == pytest.approx(0.7)
    assert sensitivity(counts) == [pytest.approx(4 / 6), pytest.approx(3 / 4), None]
    assert found["balanced_accuracy"] == pytest.approx((4 / 6 + 3 / 4) / 2), (
        "over the classes that are present"
    )


def test_without_an_example_there_is_no_figure() -> None:
    assert measure(NONE) == dict.fromkeys(METRICS)
    assert sensitivity(NONE) == [None, None, None]
    assert sentence(measure(NONE)) == ""


def test_the_interval_is_wilsons() -> None:
    z, n, p = 1.959963984540054, 10, 0.7
    middle, half = p + z * z / (2 * n), z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    low, high = (middle - half) / (1 + z * z / n), (middle + half) / (1 + z * z / n)
    assert wilson(7, 10) == (pytest.approx(low), pytest.approx(high))
    assert wilson(0, 5)[0] == 0
    assert wilson(5, 5)[1] == 1
    assert accuracy_interval(np.array([[7, 3], [0, 0]])) == wilson(7, 10)


def test_a_new_metric_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    errors = Metric("errors", "how many are wrong", lambda counts: 3.0, text="{:.0f}".format)
    monkeypatch.setitem(METRICS, "errors", errors)
    counts = np.array([[7, 3], [0, 0]])
    assert measure(counts)["errors"] == 3.0
    said = sentence(measure(counts))
    assert said.startswith("70.0 %, balanced accuracy 70.0 %") and said.endswith("errors 3")


def test_every_metric_says_what_it_is() -> None:
    for metric in METRICS.values():
        assert metric.title and metric.about
        assert metric.merged in ("mean", "pooled")


def test_the_fedavg_papers_plus_minus_is_a_binomial_interval() -> None:
    """Table II: ResNet18 91.26 +- 0.014 (of 1) on 1,579 test images."""
    assert normal_half_width(0.9126, 1579) == pytest.approx(0.014, abs=0.0005)
