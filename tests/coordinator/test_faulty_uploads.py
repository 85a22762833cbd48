"""A hospital whose upload is wrong: it is named, it stops no other hospital if the
threshold allows it, and the next round succeeds.

Each test's name says which defence it guards: without it the test fails.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from federation.coding import Coding
from federation.messages import (
    AdvertiseKeys,
    Update,
)
from federation.records.events import (
    RoundDiscarded,
    RoundFailed,
    UnreadableMessage,
)
from tests.adversary import Change, put
from tests.coordinator.faulty import EVERYBODY, FAULTY, Faulty, replace
from tests.rig import Rig, config


@pytest.mark.parametrize("protection", ["plain", "masked", "ckks", "masked+ckks"])
@pytest.mark.parametrize(
    "change",
    [
        put(buffers=()),
        lambda m: replace(m, buffers=m.buffers * 2),
        lambda m: replace(m, buffers=(bytes(m.buffers[0])[:-2], *m.buffers[1:])),
        lambda m: replace(m, buffers=(bytes(m.buffers[0])[:-1], *m.buffers[1:], b"")),
        lambda m: replace(m, buffers=(bytes(m.buffers[0]) + b"ab", *m.buffers[1:])),
        lambda m: replace(m, buffers=(b"", *m.buffers[1:])),
    ],
)
def test_truncated_and_oversize_buffers_leave_no_trace_in_the_sum(
    protection: str, change: Change
) -> None:
    faulty = Faulty(Update, change, protection=protection)
    blamed = [(who, code) for who, code, _ in faulty.blamed()]
    assert (
        blamed[0][0] == FAULTY and blamed[0][1] in ("malformed", "signature") and len(blamed) == 1
    )
    assert faulty.rig.run.completed == 2
    if protection in ("plain", "masked"):
        faulty.exact(1, EVERYBODY - {FAULTY})
        faulty.goes_on()
    assert faulty.rig.stands[FAULTY].counted == [False, True]


@pytest.mark.parametrize(
    ("tag", "words"), [(None, "uploaded no tag"), (bytes(7), "of length >= 8")]
)
def test_an_upload_without_a_whole_tag_is_refused(tag: bytes | None, words: str) -> None:
    faulty = Faulty(Update, put(tag=tag))
    assert faulty.blamed()[0][:2] == (FAULTY, "malformed") and words in faulty.blamed()[0][2]
    faulty.exact(1, EVERYBODY - {FAULTY})
    faulty.goes_on()


def test_a_second_upload_is_not_added() -> None:
    faulty = Faulty(Update, lambda message: [message, message])
    # no large message is allowed from it any more
    assert faulty.blamed()[0][:2] == (FAULTY, "malformed")
    faulty.exact(1, EVERYBODY)
    faulty.goes_on()


def test_an_upload_before_its_turn_is_not_even_read() -> None:
    """A large message is allowed only to who was granted one."""
    early = Update(round=1, tag=bytes(8), signature=None, buffers=(bytes(4096),))
    faulty = Faulty(AdvertiseKeys, lambda message: [early, message])
    assert (
        faulty.blamed(UnreadableMessage)[0][0] == FAULTY
        and "larger than the" in faulty.blamed(UnreadableMessage)[0][2]
    )
    faulty.exact(1, EVERYBODY - {FAULTY})
    faulty.goes_on()


@pytest.mark.parametrize("protection", ["plain", "masked"])
def test_values_out_of_range_abort_the_round_and_not_the_coordinator(protection: str) -> None:
    def change(message: Any) -> Any:
        vector = np.frombuffer(bytes(message.buffers[0]), "<u2").copy()
        vector[:4] += np.uint16(30000)
        return replace(message, buffers=(vector.tobytes(),))

    faulty = Faulty(Update, change, protection=protection)
    assert [event.code for event in faulty.rig.events(RoundFailed)] == ["range"]
    assert all(stand.discarded == 1 for stand in faulty.rig.stands.values())
    faulty.goes_on()


@pytest.mark.parametrize("examples", [0, 10**6])
def test_a_weight_out_of_range_is_refused_by_its_owner_with_the_bound(examples: int) -> None:
    rig = Rig(config("masked", 5, rounds=2, weighting="examples", max_examples=50))
    rig.stands[FAULTY].examples = examples
    rig.play()
    notes = [note.text for who, note in rig.federation.notes if who == FAULTY]
    assert (
        f"round 1: {examples} examples; weighting takes 1 to protection.max_examples = 50" in notes
    )
    assert (
        rig.run.completed == 2
        and rig.stands[0].counted == [True, True]
        and rig.stands[FAULTY].counted == [False, False]
    )


def test_a_weight_out_of_range_that_is_sent_all_the_same_aborts_the_round(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Five hospitals with at most 50 examples each cannot have a million: a lie beyond the range of
    all is seen under masks too.
    """
    rig = Rig(config("masked", 5, rounds=2, weighting="examples", max_examples=50))
    counts = Coding._counts

    def lie(self: Coding, given: Any) -> list[int]:
        found = counts(self, given)
        return (
            [10**6, *found[1:]]
            if given.examples == 11 and not rig.run.completed and rig.run.last_begun == 1
            else found
        )

    monkeypatch.setattr(Coding, "_counts", lie)
    rig.play()
    assert [event.code for event in rig.events(RoundFailed)] == ["range"]
    assert rig.run.completed == 1 and all(stand.private == [2] for stand in rig.stands.values())


def test_a_wrong_tag_spoils_its_round_only() -> None:
    """Under masks nobody can say whose it was; all refuse the sum, it is taken back, and the next
    round succeeds.
    """
    faulty = Faulty(Update, lambda message: replace(message, tag=bytes(8)))
    assert faulty.rig.events(RoundDiscarded) == [RoundDiscarded(1)]
    assert faulty.rig.run.completed == 1
    assert all(stand.private == [2] for stand in faulty.rig.stands.values())
    faulty.goes_on()
