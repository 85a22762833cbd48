"""A local test that takes long makes nobody away, and its score still reaches the coordinator."""

from __future__ import annotations

from federation.messages import Message, RoundReport
from tests.adversary import Rewrite
from tests.rig import Rig, config

PATIENCE = 10.0


def reports(wire: Rewrite, who: int, round_: int) -> list[float | None]:
    """The scores in this hospital's reports of a round."""
    return [
        message.accuracy
        for sender, _, message in wire.seen
        if isinstance(message, RoundReport) and (sender, message.round) == (who, round_)
    ]


def keep(message: Message) -> Message:
    return message


def test_a_local_test_longer_than_the_patience_makes_nobody_away() -> None:
    wire = Rewrite(RoundReport, keep)
    rig = Rig(config("masked", 3, rounds=3), fault=wire)
    rig.stands[0].test_s = 1.2 * PATIENCE
    rig.play()
    assert rig.run.completed == 3
    assert [stand.private for stand in rig.stands.values()] == [[1, 2, 3]] * 3
    assert rig.federation.now < 3 * 2 * PATIENCE, "no round waits for the end of the patience"
    assert reports(wire, 0, 1) == [None, 1.0], "the score follows"
    assert reports(wire, 1, 1) == [1.0], "a quick test is reported once, with its score"


def test_a_hospital_that_never_reports_is_away_after_the_patience() -> None:
    wire = Rewrite(RoundReport, lambda message: None, only=0, round_=1)
    rig = Rig(config("masked", 3, rounds=2), fault=wire).play()
    assert wire.changed and rig.run.completed == 2
    assert rig.federation.now > PATIENCE
