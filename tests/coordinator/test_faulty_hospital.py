"""A hospital that deals wrong keys or shares: it is named, it stops no other hospital if the
threshold allows it, and the next round succeeds.

Each test's name says which defence it guards: without it the test fails.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from crypto import sharing
from federation.effects import Effect
from federation.messages import (
    AdvertiseKeys,
    Consistency,
    Message,
    ShareKeys,
    UnmaskShares,
    Update,
)
from federation.protections import dealing
from federation.records.events import (
    HospitalAtFault,
    RoundFailed,
)
from hospital_node.session import Session
from tests.adversary import Change, put
from tests.coordinator.faulty import EVERYBODY, FAULTY, Faulty, Resigned, replace
from tests.rig import Deaths, Rig, config


@pytest.mark.parametrize(
    ("change", "code", "words"),
    [
        (put(sender=2), "malformed", "advertised keys in another's name"),
        (put(signature=bytes(64)), "signature", "did not sign its keys for this round"),
        (put(mask_key=b"\7" * 32), "signature", "did not sign its keys for this round"),
        (put(model=bytes(32)), "signature", "did not sign its keys for this round"),
        (Resigned(put(mask_key=bytes(32))), "malformed", "advertised an unusable key"),
        (Resigned(put(channel_key=b"\1" + bytes(31))), "malformed", "advertised an unusable key"),
        (
            Resigned(put(holders=(0, 1, 2))),
            "malformed",
            "names holders that the neighbour graph does not allow",
        ),
        (
            Resigned(put(holders=(0, 1, 2, 3, 77))),
            "malformed",
            "names holders that the neighbour graph does not allow",
        ),
    ],
)
def test_keys_that_are_not_its_own_signed_and_usable_stop_their_owner_only(
    change: Change, code: str, words: str
) -> None:
    faulty = Faulty(AdvertiseKeys, change)
    ((who, reason, text),) = faulty.blamed()
    assert (who, reason) == (FAULTY, code) and words in text
    faulty.exact(1, EVERYBODY - {FAULTY})
    faulty.goes_on()


def test_a_hospital_at_another_model_is_left_out_by_the_context() -> None:
    faulty = Faulty(AdvertiseKeys, Resigned(put(model=bytes(32))))
    assert faulty.blamed(HospitalAtFault)[0][:2] == (FAULTY, "context")
    faulty.exact(1, EVERYBODY - {FAULTY})
    faulty.goes_on()


@pytest.mark.parametrize("column", ["sealed", "commitments", "signatures"])
def test_shares_for_some_holders_only_are_refused(column: str) -> None:
    faulty = Faulty(
        ShareKeys, lambda message: replace(message, **{column: getattr(message, column)[:-1]})
    )
    ((who, code, text),) = faulty.blamed()
    assert (who, code) == (
        FAULTY,
        "malformed",
    ) and "exactly one share to each of its holders" in text
    faulty.exact(1, EVERYBODY - {FAULTY})
    faulty.goes_on()


def test_boxes_longer_than_two_shares_stop_their_dealer_and_do_not_burst_what_a_holder_takes() -> (
    None
):
    """Three dealers of seven that seal 4 kB to one holder make its Delivery longer than a hospital
    may be sent.
    """
    faulty = Faulty(
        ShareKeys, lambda message: replace(message, sealed=(bytes(4096), *message.sealed[1:]))
    )
    ((who, code, text),) = faulty.blamed()
    assert (who, code) == (FAULTY, "malformed") and "something else than shares" in text
    faulty.exact(1, EVERYBODY - {FAULTY})
    faulty.goes_on()


def spoil(column: str, *places: int) -> Change:
    """Rubbish in these places of a column."""

    def change(message: Any) -> Any:
        items = list(getattr(message, column))
        for place in places:
            items[place] = bytes(len(items[place]) or 1)
        return replace(message, **{column: tuple(items)})

    return change


@pytest.mark.parametrize("column", ["sealed", "commitments", "signatures"])
def test_a_wrong_share_for_one_holder_names_its_dealer_and_costs_nothing(column: str) -> None:
    faulty = Faulty(ShareKeys, spoil(column, 3))
    ((who, code, text),) = faulty.blamed(HospitalAtFault)
    assert (who, code) == (FAULTY, "share") and "dealt what hospitals [3] could not use" in text
    faulty.exact(1, EVERYBODY)
    faulty.goes_on()


def test_wrong_shares_for_too_many_abort_the_round_and_the_next_goes_on_without_their_dealer() -> (
    None
):
    faulty = Faulty(ShareKeys, spoil("sealed", 0, 2, 3))
    assert [event.code for event in faulty.rig.events(RoundFailed)] == ["share"]
    assert faulty.blamed(HospitalAtFault)[0][:2] == (FAULTY, "share")
    assert (FAULTY, "lost", "is not connected") in [
        (who, code, text) for who, code, text in faulty.blamed()
    ]
    faulty.goes_on(EVERYBODY - {FAULTY})
    assert all(stand.private == [2] for who, stand in faulty.rig.stands.items() if who != FAULTY)


def cheat(
    monkeypatch: pytest.MonkeyPatch, split: Callable[..., dict[int, bytes]], round_: int = 1
) -> None:
    """Hospital 1 deals by `split` in this round, with commitments and signatures in order."""
    receive, honest = Session.receive, sharing.split

    def watched(self: Session, message: Message) -> list[Effect]:
        faulty = self.number == FAULTY and getattr(message, "round", 0) == round_
        monkeypatch.setattr(dealing.sharing, "split", split if faulty else honest)
        return receive(self, message)

    monkeypatch.setattr(Session, "receive", watched)


def rubbish(secret: bytes, holders: Any, threshold: int, randbelow: Any) -> dict[int, bytes]:
    return {holder: bytes([0, *range(holder, holder + 32)]) for holder in holders}


def test_shares_that_give_no_secret_name_their_dealer_by_its_commitments(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    cheat(monkeypatch, rubbish)
    faulty = Faulty(ShareKeys, lambda message: message)
    (aborted,) = faulty.rig.events(RoundFailed)
    assert aborted.code == "share" and "hospital 1 dealt inconsistent shares" in aborted.text
    assert [(who, code) for who, code, _ in faulty.blamed(HospitalAtFault)] == [(FAULTY, "share")]
    faulty.goes_on(EVERYBODY - {FAULTY})


def test_shares_of_another_secret_name_their_dealer_by_the_seeds_commitment(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    honest = sharing.split
    cheat(monkeypatch, lambda secret, *others: honest(b"x" * 32, *others))
    faulty = Faulty(ShareKeys, lambda message: message)
    assert "hospital 1 dealt inconsistent shares" in faulty.rig.events(RoundFailed)[0].text
    faulty.goes_on(EVERYBODY - {FAULTY})


def test_a_dropout_that_shared_another_mask_key_is_named_by_its_public_key(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    honest, calls = sharing.split, []

    def second_only(secret: bytes, *others: Any) -> dict[int, bytes]:
        calls.append(secret)
        return honest(b"x" * 32 if len(calls) == 2 else secret, *others)

    cheat(monkeypatch, second_only)
    deaths = Deaths((AdvertiseKeys, ShareKeys, Update, Consistency, UnmaskShares), {1: {FAULTY: 2}})
    rig = deaths.rig = Rig(config("masked", 5, rounds=2), fault=deaths).play()
    assert "hospital 1 dealt inconsistent shares" in rig.events(RoundFailed)[0].text
    assert rig.run.completed == 1
