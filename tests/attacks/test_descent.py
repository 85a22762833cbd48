"""The search: every copy is its own problem, with its own best point and its own end."""

import math

import pytest
import torch

from attacks.methods import _descent
from attacks.methods._attack import Settled


class Problems:
    """Copies whose image has to become `wanted` (N, 1, 1, H, W)."""

    def __init__(self, wanted: torch.Tensor) -> None:
        self.wanted = wanted
        self.dtype, self.device = wanted.dtype, wanted.device

    @property
    def count(self) -> int:
        return len(self.wanted)

    def rows(self, keep: torch.Tensor) -> "Problems":
        return Problems(self.wanted[keep])


def square(copies: Problems, variables: dict[str, torch.Tensor]):
    gap = ((variables["image"] - copies.wanted) ** 2).flatten(1).mean(1)
    return gap, gap


def levels(*values: float) -> torch.Tensor:
    return torch.tensor(values)[:, None, None, None, None].expand(-1, 1, 1, 3, 3).clone()


def run(wanted: torch.Tensor, start: torch.Tensor, **settings: object) -> _descent.Found:
    settled = Settled(**{"steps": 200, "lr": 0.05, "tolerance": 1e-6, **settings})
    return _descent.descend(square, Problems(wanted), {"image": start}, settled)


def test_every_copy_reaches_its_own_minimum() -> None:
    wanted = levels(0.1, 0.5, 0.9)
    found = run(wanted, levels(0.5, 0.5, 0.5))
    assert (found.variables["image"] - wanted).abs().max() < 0.01
    assert found.objective.max() < 1e-4


def test_a_search_ends_when_every_copy_is_good_enough() -> None:
    found = run(levels(0.5, 0.5), levels(0.5, 0.5))
    assert found.steps == 1 and found.objective.tolist() == [0, 0]


def test_a_copy_that_is_done_leaves_the_batch_and_keeps_its_answer() -> None:
    sizes: list[int] = []

    def counted(copies: Problems, variables: dict[str, torch.Tensor]):
        sizes.append(copies.count)
        return square(copies, variables)

    wanted = levels(0.5, 0.9)
    settled = Settled(steps=60, lr=0.05, tolerance=1e-6)
    found = _descent.descend(counted, Problems(wanted), {"image": levels(0.5, 0.1)}, settled)
    assert sizes[0] == 2 and sizes[-1] == 1
    assert torch.equal(found.variables["image"][0], wanted[0])


def test_images_stay_between_black_and_white() -> None:
    found = run(levels(3.0, -3.0), levels(0.5, 0.5), steps=60)
    assert found.variables["image"].min() == 0 and found.variables["image"].max() == 1


def test_a_copy_that_leaves_the_numbers_does_not_take_the_others_with_it() -> None:
    wanted = levels(0.7, math.nan)
    found = run(wanted, levels(0.5, 0.5), steps=120)
    assert (found.variables["image"][0] - 0.7).abs().max() < 0.02
    assert found.objective[1] == math.inf


def test_the_best_point_counts_and_not_the_last() -> None:
    found = run(levels(0.52), levels(0.5), steps=3, lr=0.4)
    assert found.objective[0] == pytest.approx(0.02**2, rel=1e-3)


def test_progress_is_told_after_every_step() -> None:
    told: list[tuple[int, int]] = []
    run(levels(0.9), levels(0.1), steps=3, progress=lambda *at: told.append(at))
    assert told == [(1, 3), (2, 3), (3, 3)]


@pytest.mark.parametrize(
    ("schedule", "step", "factor"),
    [
        ("cosine", 1, 1.0),
        ("cosine", 51, 0.5),
        ("steps", 37, 1.0),
        ("steps", 38, 0.1),
        ("steps", 88, 1e-3),
        ("constant", 99, 1.0),
    ],
)
def test_the_rate_follows_its_schedule(schedule, step: int, factor: float) -> None:
    assert _descent._factor(schedule, step, 100) == pytest.approx(factor)


def test_total_variation_is_the_mean_step_between_neighbours() -> None:
    flat = torch.full((1, 1, 1, 4, 4), 0.3)
    stripes = flat.clone()
    stripes[..., ::2] = 0.5
    assert _descent.total_variation(flat).item() == 0
    assert _descent.total_variation(stripes).item() == pytest.approx(0.2, rel=1e-5)


def test_the_cosine_distance_forgives_scale_and_not_direction() -> None:
    one = {"a": torch.tensor([[1.0, 2.0], [1.0, 0.0]]), "b": torch.zeros(2, 1)}
    two = {"a": torch.tensor([[3.0, 6.0], [0.0, 1.0]]), "b": torch.zeros(2, 1)}
    assert _descent.cosine_distance(one, two).tolist() == pytest.approx([0, 1], abs=1e-6)
    away = {name: -value for name, value in one.items()}
    assert _descent.cosine_distance(one, away).tolist() == pytest.approx([2, 2])


def test_the_inner_product_goes_over_all_tensors_of_a_copy() -> None:
    a = {"x": torch.tensor([[1.0, 2.0]]), "y": torch.tensor([[[3.0]]])}
    assert _descent.dot(a, a).tolist() == [14]


def test_of_each_cases_restarts_the_best_one_is_chosen() -> None:
    found = torch.arange(6)
    objective = torch.tensor([3.0, 1.0, 2.0, math.nan, 5.0, 4.0])
    assert _descent.choose(found, objective, 2).tolist() == [1, 5]
