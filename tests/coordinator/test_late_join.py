"""A hospital that comes while a round is under way is in the next one, however short the rounds
are.
"""

from __future__ import annotations

from federation.messages import StartRound
from tests.rig import Rig, config


def test_who_joins_during_a_round_is_in_the_next_one() -> None:
    rig = Rig(config("masked", cohort=5, rounds=3))
    late = rig.federation.hospitals.pop(4)
    joined: list[int] = []

    def join(who: int, direction: str, frames: list[bytes]) -> None:
        if not joined and int.from_bytes(bytes(frames[0])[4:6], "big") == StartRound.kind:
            joined.append(rig.run.last_begun)
            rig.federation.hospitals[4] = late
            rig.federation.connect(4)

    rig.federation.tap = join
    rig.play()
    assert joined == [1]
    assert rig.stands[4].trained == [2, 3]
    assert len({session.shared.digest for session in rig.sessions.values()}) == 1
