"""Two survivor sets that differ by few hospitals are reported with the pair, once."""

from __future__ import annotations

from federation.differencing import closest
from tests.adversary import EVERYBODY, liar
from tests.rig import Rig, config


def test_the_closest_pair_of_survivor_sets_is_found() -> None:
    earlier = {1: frozenset({0, 1, 2, 3, 4}), 2: frozenset({0, 1, 2, 3})}
    assert closest(earlier, frozenset({0, 1, 2, 3, 5}), 3) == (2, frozenset({5}))
    assert closest(earlier, frozenset({0, 1, 2, 3}), 3) == (1, frozenset({4}))
    assert closest({1: frozenset({0, 1, 2})}, frozenset({3, 4, 5}), 3) is None
    assert closest({}, frozenset({0, 1, 2}), 3) is None


def test_hospitals_are_told_once_of_rounds_that_differ_by_one_of_them() -> None:
    rig = Rig(config("masked", cohort=5, rounds=4))

    def drop_in_round_2(effect: object, run: object) -> None:
        if rig.run.last_begun == 2:
            rig.federation.dead.add(4)

    rig.federation.watch = drop_in_round_2
    rig.play()
    told = [note.text for who, note in rig.federation.notes if who == 0]
    assert told == [
        "WARNING: rounds 1 and 2 had the same participants except hospital-5. Anyone with both sums"
        " can subtract them and obtain hospital-5's update."
    ]


def test_sums_that_the_coordinator_keeps_to_itself_are_told_of_too() -> None:
    """It unmasks both, over the same model, and sends neither: then their difference is nearly the
    update itself.
    """
    hub = liar()
    hub.up_to("aggregate", 1)
    hub.up_to("aggregate", 2, dead={"masked_update": [0]})
    for who in EVERYBODY[1:]:
        (told,) = [text for text in hub.notes[who] if text.startswith("WARNING")]
        assert "rounds 1 and 2" in told and "obtain hospital-1's update" in told
