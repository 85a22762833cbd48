"""The stopwatch counts this thread's own seconds, and gives each of them once."""

from __future__ import annotations

from hospital_node.stopwatch import Stopwatch


def test_a_lap_is_given_once_also_after_an_error() -> None:
    watch = Stopwatch()
    assert watch.lap() == 0
    for error in (False, True):
        try:
            with watch:
                sum(range(100_000))
                if error:
                    raise ValueError
        except ValueError:
            pass
        assert watch.lap() > 0
        assert watch.lap() == 0
