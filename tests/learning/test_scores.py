"""Scores and figures against formulas written apart: loops over examples instead of arrays."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from learning import metrics
from learning.evaluation import auroc, confusion, evaluate

CPU = torch.device("cpu")
answers = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=40)


def counted(pairs: list[tuple[int, int]]) -> np.ndarray:
    return confusion(torch.tensor([t for t, _ in pairs]), torch.tensor([p for _, p in pairs]), 4)


@settings(deadline=None, max_examples=40)
@given(answers)
def test_confusion_is_a_count_of_pairs(pairs):
    counts = counted(pairs)
    assert counts.dtype == np.int64 and counts.shape == (4, 4)
    for truth, called in itertools.product(range(4), repeat=2):
        assert counts[truth, called] == pairs.count((truth, called))


@settings(deadline=None, max_examples=40)
@given(answers, answers)
def test_confusion_counts_of_hospitals_add_up(one, other):
    assert (counted(one + other) == counted(one) + counted(other)).all()


@settings(deadline=None, max_examples=60)
@given(answers)
def test_accuracies_are_shares_of_examples(pairs):
    found = metrics.measure(counted(pairs))
    right = [truth == called for truth, called in pairs]
    assert found["accuracy"] == pytest.approx(sum(right) / len(right))
    recalls = [
        sum(called == c for truth, called in pairs if truth == c)
        / sum(truth == c for truth, _ in pairs)
        for c in {truth for truth, _ in pairs}
    ]
    assert found["balanced_accuracy"] == pytest.approx(sum(recalls) / len(recalls))


@settings(deadline=None, max_examples=40)
@given(answers, st.permutations(range(4)))
def test_figures_do_not_depend_on_the_order_of_the_classes(pairs, order):
    renamed = [(order[truth], order[called]) for truth, called in pairs]
    for name, value in metrics.measure(counted(pairs)).items():
        assert metrics.measure(counted(renamed))[name] == pytest.approx(value), name


@settings(deadline=None, max_examples=40)
@given(answers)
def test_every_figure_of_perfect_answers_is_its_best(pairs):
    best = metrics.measure(counted([(truth, truth) for truth, _ in pairs]))
    for name, value in metrics.measure(counted(pairs)).items():
        metric = metrics.METRICS[name]
        assert best[name] >= value if metric.higher_is_better else best[name] <= value
        if metric.interval is not None:
            low, high = metric.interval(counted(pairs))
            assert 0 <= low <= value + 1e-12 and value - 1e-12 <= high <= 1


@settings(deadline=None, max_examples=40)
@given(st.integers(1, 500).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_wilsons_ends_solve_its_equation(pair):
    """(p - q)^2 = z^2 q (1 - q) / n at both ends q (Wilson 1927)."""
    successes, trials = pair
    share, z = successes / trials, 1.959963984540054
    for end in metrics.wilson(successes, trials):
        assert (share - end) ** 2 == pytest.approx(z * z * end * (1 - end) / trials, abs=1e-9)
    mirrored = metrics.wilson(trials - successes, trials)
    assert mirrored == pytest.approx(tuple(1 - end for end in metrics.wilson(*pair)[::-1]))


def pairs_in_order(scores: list[float], positive: list[bool]) -> float | None:
    """AUROC as the share of pairs in which the positive scores higher; a tie is half a pair."""
    ours = [s for s, p in zip(scores, positive, strict=True) if p]
    theirs = [s for s, p in zip(scores, positive, strict=True) if not p]
    if not ours or not theirs:
        return None
    won = sum((a > b) + 0.5 * (a == b) for a in ours for b in theirs)
    return won / (len(ours) * len(theirs))


scored = st.lists(
    st.tuples(st.integers(0, 2), st.tuples(*[st.integers(1, 5)] * 3)), min_size=1, max_size=25
)


@settings(deadline=None, max_examples=25)
@given(scored)
def test_auroc_is_the_share_of_pairs_in_order_averaged_over_classes(examples):
    probabilities = np.array([p for _, p in examples], np.float32) / 5
    truth = [label for label, _ in examples]
    areas = [
        pairs_in_order(probabilities[:, c].tolist(), [label == c for label in truth])
        for c in range(3)
    ]
    known = [area for area in areas if area is not None]
    found = auroc(probabilities, np.array(truth))
    if not known:
        assert found is None
    else:
        assert found == pytest.approx(sum(known) / len(known), abs=1e-6)


def test_auroc_does_not_depend_on_the_order_of_examples_or_on_the_kind_of_truth():
    rng = np.random.default_rng(0)
    probabilities = rng.dirichlet(np.ones(3), 30).astype(np.float32)
    truth = rng.integers(0, 3, 30)
    order = rng.permutation(30)
    value = auroc(probabilities, truth)
    assert auroc(probabilities[order], truth[order]) == pytest.approx(value)
    assert auroc(probabilities, torch.from_numpy(truth)) == value
    assert auroc(np.eye(3, dtype=np.float32)[truth], truth) == 1


class Table(torch.nn.Module):
    """Gives image n, which is full of the number n, the logits of row n."""

    def __init__(self, logits: torch.Tensor) -> None:
        super().__init__()
        self.logits = logits
        self.batches: list[int] = []

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        self.batches.append(len(images))
        numbers = ((images[:, 0, 0, 0] * 0.25 + 0.5) * 255).round().long()
        return self.logits[numbers]


def numbered(count: int) -> torch.Tensor:
    return torch.arange(count, dtype=torch.uint8).reshape(-1, 1, 1, 1).expand(-1, 1, 2, 2)


@settings(deadline=None, max_examples=25)
@given(
    st.integers(1, 12).flatmap(
        lambda n: st.tuples(
            st.lists(st.integers(0, 2), min_size=n, max_size=n),
            st.lists(st.integers(0, n - 1), min_size=1, max_size=15),
        )
    ),
    st.integers(1, 7),
)
def test_scores_are_those_of_the_chosen_rows_in_their_order(data, batch_size):
    labels, rows = data
    logits = torch.randn(len(labels), 3, generator=torch.Generator().manual_seed(1))
    scores = evaluate(
        Table(logits),
        numbered(len(labels)),
        torch.tensor(labels),
        3,
        CPU,
        batch_size,
        rows=torch.tensor(rows),
    )
    expected = []
    for place, row in enumerate(rows):
        powers = [math.exp(value) for value in logits[row].tolist()]
        shares = [power / sum(powers) for power in powers]
        assert scores.probabilities[place].tolist() == pytest.approx(shares, rel=1e-4)
        expected.append(-math.log(shares[labels[row]]))
    assert scores.loss == pytest.approx(sum(expected) / len(expected), rel=1e-4)
    called = scores.probabilities.argmax(axis=1)
    assert scores.confusion.tolist() == [
        [
            sum(labels[row] == t and c == p for row, c in zip(rows, called, strict=True))
            for p in range(3)
        ]
        for t in range(3)
    ]


def test_progress_is_told_after_every_batch_and_ends_at_the_whole():
    model, told = Table(torch.zeros(7, 3)), []
    evaluate(
        model,
        numbered(7),
        torch.zeros(7, dtype=torch.int64),
        3,
        CPU,
        batch_size=3,
        progress=lambda *step: told.append(step),
    )
    assert told == [(3, 7), (6, 7), (7, 7)] and model.batches == [3, 3, 1]


def test_evaluation_keeps_no_gradient_and_ends_in_evaluation_mode():
    model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Dropout(0.9), torch.nn.Linear(4, 3))
    model.train()
    labels = torch.zeros(5, dtype=torch.int64)
    one, other = (evaluate(model, numbered(5), labels, 3, CPU) for _ in range(2))
    assert np.array_equal(one.probabilities, other.probabilities)  # no dropout
    assert not model.training and all(p.grad is None for p in model.parameters())
