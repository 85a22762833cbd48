"""Engines: every call is made, every result comes back, an error is the caller's."""

import sys

import pytest

from federation.errors import ConfigError
from simulation import engines

CALLS = [(2, power) for power in range(5)]


@pytest.mark.parametrize("jobs", [1, 2])
def test_every_call_gives_its_result(jobs: int) -> None:
    found = engines.engine("joblib")(pow, CALLS, jobs)
    assert sorted(found) == [1, 2, 4, 8, 16]


def test_without_calls_there_are_no_results() -> None:
    assert list(engines.engine("joblib")(pow, [], 1)) == []


def test_what_a_call_raises_reaches_the_caller() -> None:
    with pytest.raises(ZeroDivisionError):
        list(engines.engine("joblib")(divmod, [(1, 1), (1, 0)], 1))


def test_an_unknown_engine_is_answered_with_the_names() -> None:
    with pytest.raises(ConfigError, match="--engine cloud: choose joblib or ray"):
        engines.engine("cloud")


def test_without_ray_its_engine_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ConfigError, match=r"pip install 'flop-federation\[ray\]'"):
        list(engines.engine("ray")(pow, CALLS, 1))
