"""A hospital that sends wrong signatures or shares, or anything at any time: it is named, it stops
no other hospital if the threshold allows it, and the next round succeeds.

Each test's name says which defence it guards: without it the test fails.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from federation.messages import (
    AdvertiseKeys,
    Aggregate,
    Consistency,
    Message,
    Progress,
    Ready,
    Refusal,
    RevealedShare,
    RoundReport,
    ShareKeys,
    UnmaskShares,
    Update,
)
from federation.records.events import (
    HospitalAtFault,
)
from tests.adversary import Change, Rewrite, put
from tests.coordinator.faulty import EVERYBODY, FAULTY, Faulty, replace
from tests.rig import Rig, config

# ---- signatures and revealed shares --------------------------------------------------


def test_a_wrong_signature_under_the_survivors_stops_its_sender_only() -> None:
    faulty = Faulty(Consistency, put(signature=bytes(64)))
    assert (
        faulty.blamed()[0][:2] == (FAULTY, "signature")
        and "did not sign the survivors" in faulty.blamed()[0][2]
    )
    faulty.exact(1, EVERYBODY)  # its update is in
    faulty.goes_on()


def first_share(change: Callable[[RevealedShare], RevealedShare]) -> Change:
    def changed(message: UnmaskShares) -> UnmaskShares:
        return replace(
            message, self_shares=(change(message.self_shares[0]), *message.self_shares[1:])
        )

    return changed


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (
            first_share(lambda s: replace(s, share=bytes(33))),
            "revealed a wrong share of hospital 0",
        ),
        (first_share(lambda s: replace(s, salt=bytes(16))), "revealed a wrong share of hospital 0"),
        (
            first_share(lambda s: replace(s, owner=4)),
            "revealed shares of others than it was asked for",
        ),
        (
            lambda m: replace(m, self_shares=m.self_shares[:-1]),
            "revealed shares of others than it was asked for",
        ),
        (
            lambda m: replace(m, self_shares=m.self_shares[::-1]),
            "revealed shares of others than it was asked for",
        ),
        (
            lambda m: replace(m, self_shares=(), key_shares=m.self_shares),
            "revealed shares of others than it was asked for",
        ),
        (
            lambda m: replace(m, key_shares=m.self_shares[:1]),
            "revealed shares of others than it was asked for",
        ),
        (put(bad_dealers=(FAULTY,)), "complains of hospitals that dealt it nothing"),
        (put(bad_dealers=(65_535,)), "complains of hospitals that dealt it nothing"),
    ],
)
def test_a_wrong_revealed_share_names_its_sender(change: Change, words: str) -> None:
    faulty = Faulty(UnmaskShares, change)
    ((who, code, text),) = faulty.blamed()
    assert (who, code) == (FAULTY, "share") and words in text
    faulty.exact(1, EVERYBODY)
    faulty.goes_on()


def test_a_false_complaint_blames_dealer_and_complainer_alike_and_costs_nothing() -> None:
    def change(message: UnmaskShares) -> UnmaskShares:
        kept = tuple(share for share in message.self_shares if share.owner == FAULTY)
        return replace(message, self_shares=kept, bad_dealers=(0, 2, 3, 4))

    faulty = Faulty(UnmaskShares, change)
    assert [who for who, _, _ in faulty.blamed(HospitalAtFault)] == [0, 2, 3, 4]
    assert all(
        "either it or they are at fault" in text and "[1]" in text
        for _, _, text in faulty.blamed(HospitalAtFault)
    )
    faulty.exact(1, EVERYBODY)
    faulty.goes_on()


# ---- anything, at any time -----------------------------------------------------------

WRONG_TIME: list[Message] = [
    Ready(round=1, model=bytes(32), group_key=bytes(32), signature=bytes(64)),
    AdvertiseKeys(
        round=1,
        sender=FAULTY,
        model=bytes(32),
        group_key=bytes(32),
        mask_key=bytes(32),
        channel_key=bytes(32),
        holders=(0, 1, 2, 3, 4),
        signature=bytes(64),
    ),
    ShareKeys(round=1, sealed=(), commitments=(), signatures=(), seed_commitment=bytes(32)),
    Update(round=1, tag=bytes(8), signature=None),
    Consistency(round=1, signature=bytes(64)),
    UnmaskShares(round=1, self_shares=(), key_shares=(), bad_dealers=()),
    Aggregate(round=1, survivors=(), transcript=None, signers=(), signatures=(), tag=None),
    RoundReport(round=1, model=None, accuracy=0.5, clipped=0),
    RoundReport(round=2**31 - 1, model=None, accuracy=0.5, clipped=0),
    Refusal(round=1, code="anything"),
]


@pytest.mark.parametrize(
    "place",
    [AdvertiseKeys, ShareKeys, Update, Consistency, UnmaskShares],
    ids=lambda kind: kind.__name__,
)
@pytest.mark.parametrize("instead", WRONG_TIME, ids=lambda message: type(message).__name__)
def test_a_message_at_the_wrong_time_stops_its_sender_only(
    place: type[Message], instead: Message
) -> None:
    faulty = Faulty(place, lambda message: instead)
    after_upload = place in (Consistency, UnmaskShares)
    if isinstance(instead, place):
        assert faulty.blamed()[0][0] == FAULTY
    faulty.exact(1, EVERYBODY if after_upload else EVERYBODY - {FAULTY})
    faulty.goes_on()


def test_progress_that_never_ends_does_not_hold_a_round_for_ever() -> None:
    """Only more progress than ever before counts, and 100 % is the last."""
    hospital: dict[str, Any] = {}

    def stall(message: AdvertiseKeys) -> list[Message]:
        bus = hospital["rig"].federation
        for second in range(1, 400):
            told = Progress(round=1, percent=min(100, second))
            bus.at(float(second), lambda told=told: bus._up(FAULTY, told))
        return []

    wire = Rewrite(AdvertiseKeys, stall, only=FAULTY, round_=1)
    rig = hospital["rig"] = Rig(config("masked", 5, rounds=1), fault=wire)
    rig.play()
    assert rig.run.completed == 1 and 100 < rig.federation.now < 120
