"""Scores of the local tests: they may come after the report, and no round waits for them."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from federation.messages import Message, RoundReport
from federation.records.events import RoundReported, ScoreShared
from tests.rig import Rig, config


def scores_after(seconds: float, rounds: int = 3) -> Rig:
    """Every hospital reports at once, and again with its score so much later."""

    def fault(
        who: int, direction: str, message: Message, now: float
    ) -> Iterable[tuple[float, Message]]:
        if isinstance(message, RoundReport):
            return [(0.0, msgspec.structs.replace(message, accuracy=None)), (seconds, message)]
        return [(0.0, message)]

    return Rig(config("masked", 3, rounds=rounds), fault=fault).play()


def test_a_score_that_comes_with_the_report_is_in_the_rounds_event() -> None:
    rig = Rig(config("masked", 3, rounds=2)).play()
    assert [event.accuracy for event in rig.events(RoundReported)] == [
        dict.fromkeys(rig.run.ids, 1.0)
    ] * 2
    assert not rig.events(ScoreShared)


def test_no_round_waits_for_a_late_score() -> None:
    rig = scores_after(3.0)
    assert rig.run.completed == 3
    assert rig.federation.now <= 3.0  # only the end of the run does
    assert rig.run.mean_accuracy == 1.0


def test_a_late_score_is_an_event_of_its_own() -> None:
    rig = scores_after(0.5, rounds=2)
    shared = {(event.hospital, event.round) for event in rig.events(ScoreShared)}
    assert {(name, 1) for name in rig.run.ids} <= shared
    assert all(event.accuracy == 1.0 for event in rig.events(ScoreShared))


def test_the_end_waits_for_scores_no_longer_than_patience() -> None:
    patience = config("masked", 3).federation.patience
    rig = scores_after(1000.0)
    assert rig.run.completed == 3 and rig.federation.now <= 2 * patience


def test_a_score_of_an_earlier_round_does_not_count_as_the_report_of_this_one() -> None:
    rig = Rig(config("masked", 3, rounds=2)).play()
    before = rig.run.presence[0].applied
    assert before == 2
    late = RoundReport(round=1, model=None, accuracy=0.25, clipped=None)
    (event,) = rig.run.receive(0, late, 1.0)
    assert event == ScoreShared(rig.run.ids[0], 1, 0.25)
    assert rig.run.presence[0].applied == 2
