"""A faulty hospital in a whole federation: it is named, it stops nobody but itself where the
threshold allows, and the next round succeeds.

Each test's name says which defence it guards: without it the test fails.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import numpy as np
import pytest

from crypto import sharing, signing
from federation.coding import Coding
from federation.effects import Applied, Effect
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
from federation.plan import Binding
from federation.protections import advertisement, dealing
from federation.records.events import (
    HospitalAtFault,
    HospitalLost,
    RoundDiscarded,
    RoundFailed,
    UnreadableMessage,
)
from hospital_node.session import Session
from tests.adversary import Change, Rewrite, integers, put
from tests.rig import Deaths, Rig, config, start_model

replace = msgspec.structs.replace
FAULTY, EVERYBODY = 1, {0, 1, 2, 3, 4}


class Faulty:
    """Two rounds of five; hospital 1 is faulty in the first. `totals` is what the coordinator got
    out of each round.
    """

    def __init__(self, kind: type[Message], change: Change, **settings: Any) -> None:
        self.totals: dict[int, Any] = {}
        self.wire = Rewrite(kind, change, only=FAULTY, round_=1)
        protection = settings.pop("protection", "masked")
        self.rig = Rig(
            config(protection, 5, rounds=2, **settings), fault=self.wire, watch=self._watch
        )
        self.rig.play()
        assert self.wire.changed

    def _watch(self, effect: Any, run: Any) -> None:
        if isinstance(effect, Applied):
            self.totals[effect.round] = effect.total

    def blamed(self, what: type[Any] = HospitalLost) -> list[tuple[int, str, str]]:
        return [
            (self.rig.who(event), getattr(event, "code", ""), event.text)
            for event in self.rig.events(what)
        ]

    def exact(self, round_: int, survivors: set[int]) -> None:
        """This round's sum is exactly that of these hospitals."""
        clips = start_model().clips if round_ == 1 else None
        total = self.totals[round_]
        assert total.survivors == len(survivors)
        if clips is not None:
            expected = sum(integers(self.rig, who, round_, clips) for who in survivors)
            assert np.array_equal(
                total.values, expected[: Coding.of(self.rig.config, self.rig.layout).values]
            )

    def goes_on(self, survivors: set[int] = EVERYBODY) -> None:
        """The next round succeeds, and the honest hospitals end with one model."""
        assert self.rig.federation.finished is not None and 2 in self.totals
        assert self.totals[2].survivors == len(survivors)
        assert len({self.rig.sessions[who].shared.digest for who in EVERYBODY - {FAULTY}}) == 1
        assert all(self.rig.sessions[who].shared.round == 2 for who in EVERYBODY - {FAULTY})


def resigned(change: Change) -> Change:
    """A change to an advertisement that its sender signs itself."""

    def sign(message: AdvertiseKeys) -> AdvertiseKeys:
        rig = CURRENT[-1]
        changed = change(message)
        context = rig.run._plan(1).context(Binding(changed.model, changed.group_key))
        return replace(
            changed,
            signature=signing.sign(
                rig.secrets[FAULTY].signing_key,
                "advertise-keys",
                *advertisement.signed_parts(context, changed),
            ),
        )

    return sign


CURRENT: list[Rig] = []


@pytest.fixture(autouse=True)
def _remember(monkeypatch: pytest.MonkeyPatch) -> None:
    made = Rig.__init__

    def init(self: Rig, *rest: Any, **more: Any) -> None:
        CURRENT.append(self)
        made(self, *rest, **more)

    CURRENT.clear()
    monkeypatch.setattr(Rig, "__init__", init)


# ---- keys and shares -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "code", "words"),
    [
        (put(sender=2), "malformed", "advertised keys in another's name"),
        (put(signature=bytes(64)), "signature", "did not sign its keys for this round"),
        (put(mask_key=b"\7" * 32), "signature", "did not sign its keys for this round"),
        (put(model=bytes(32)), "signature", "did not sign its keys for this round"),
        (resigned(put(mask_key=bytes(32))), "malformed", "advertised an unusable key"),
        (resigned(put(channel_key=b"\1" + bytes(31))), "malformed", "advertised an unusable key"),
        (
            resigned(put(holders=(0, 1, 2))),
            "malformed",
            "names holders that the neighbour graph does not allow",
        ),
        (
            resigned(put(holders=(0, 1, 2, 3, 77))),
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
    faulty = Faulty(AdvertiseKeys, resigned(put(model=bytes(32))))
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


def test_wrong_shares_for_too_many_abort_the_round_and_the_next_one_begins_without_their_dealer() -> (
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


# ---- uploads -------------------------------------------------------------------------


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
