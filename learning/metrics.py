"""The figures that follow from confusion counts. A new metric is one function and one line of
`METRICS`; run directories, summaries, reports and round lines show every metric that is there.

Confusion counts are int64 (C, C), rows of true and columns of predicted classes. Those of several
hospitals add up.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binomtest

Counts = NDArray[np.int64]
Interval = tuple[float, float]


def percent(value: float) -> str:
    """0.914 → 91.4 %."""
    return f"{100 * value:.1f} %"


@dataclass(frozen=True)
class Metric:
    """One figure of a test.

    Attributes:
        title: Its name in a table or sentence, in lower case.
        about: What it says, half a sentence for a reader who does not know it.
        of: The figure of confusion counts with at least one example.
        interval: Its 95 % interval, or None if none is known for it.
        text: How it is written.
        higher_is_better: Whether a larger value is the better one.
        merged: How a federation's figure follows from its hospitals': the mean of theirs, or the
            figure of their summed counts.
    """

    title: str
    about: str
    of: Callable[[Counts], float]
    interval: Callable[[Counts], Interval] | None = None
    text: Callable[[float], str] = percent
    higher_is_better: bool = True
    merged: Literal["mean", "pooled"] = "pooled"


def sensitivity(counts: Counts) -> list[float | None]:
    """The share of every class's examples that are recognised; None for an absent class."""
    pairs = zip(counts.diagonal(), counts.sum(axis=1), strict=True)
    return [float(right / of_class) if of_class else None for right, of_class in pairs]


def accuracy(counts: Counts) -> float:
    """The share of all examples that are right."""
    return int(counts.trace()) / int(counts.sum())


def accuracy_interval(counts: Counts) -> Interval:
    """The 95 % Wilson interval of the accuracy."""
    return wilson(int(counts.trace()), int(counts.sum()))


def balanced_accuracy(counts: Counts) -> float:
    """The mean sensitivity of the classes that are present."""
    present = [value for value in sensitivity(counts) if value is not None]
    return sum(present) / len(present)


METRICS: dict[str, Metric] = {
    "accuracy": Metric(
        "accuracy", "the share that is right", accuracy, accuracy_interval, merged="mean"
    ),
    "balanced_accuracy": Metric("balanced accuracy", "every class counts alike", balanced_accuracy),
}
"""By the key that a metric has in summary.json and metrics.jsonl."""

HEADLINE = "accuracy"
"""The metric that a round line begins with, and that hospitals may share with the coordinator."""


def measure(counts: Counts) -> dict[str, float | None]:
    """Every metric of these counts; None if they hold no example."""
    some = bool(counts.sum())
    return {name: metric.of(counts) if some else None for name, metric in METRICS.items()}


def sentence(values: Mapping[str, float | None]) -> str:
    """Every known figure in words: "91.4 %, balanced accuracy 88.0 %"; empty if none is known."""
    known = [(name, METRICS[name], values.get(name)) for name in METRICS]
    return ", ".join(
        metric.text(value) if name == HEADLINE else f"{metric.title} {metric.text(value)}"
        for name, metric, value in known
        if value is not None
    )


def wilson(successes: int, trials: int) -> Interval:
    """The 95 % Wilson score interval of a proportion; `trials` is at least 1."""
    interval = binomtest(successes, trials).proportion_ci(confidence_level=0.95, method="wilson")
    return float(interval.low), float(interval.high)


def normal_half_width(proportion: float, trials: int) -> float:
    """Half of the 95 % normal-approximation interval, which the FedAvg paper's ± are."""
    return 1.96 * math.sqrt(proportion * (1 - proportion) / trials)
