"""A lying coordinator and real hospitals: who survived, and what is revealed of whom.

Each test's name says which defence it guards: without it the test fails.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import combinations
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crypto import agreement, keystream, sharing
from federation.coding import Coding
from federation.messages import (
    AbortRound,
    Consistency,
    Delivery,
    Grant,
    KeyList,
    StartRound,
    Survivors,
    UnmaskRequest,
    UnmaskShares,
)
from federation.protections import derivations as derive
from tests.adversary import CLIPS, EVERYBODY, LyingCoordinator, integers, liar, refuses

replace = msgspec.structs.replace


# ---- survivors -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("survivors", "reason"),
    [
        ((1, 2, 3, 4), "unexpected"),  # without the hospital that is asked
        ((0, 1, 2), "threshold"),
        ((), "threshold"),
        ((0, 1, 2, 3, 3), "cohort"),
        ((3, 2, 1, 0), "cohort"),
        ((0, 1, 2, 3, 4, 5), "cohort"),
        ((0, 1, 2, 77), "cohort"),
    ],
    ids=str,
)
def test_survivors_that_cannot_be_are_not_signed(survivors: tuple[int, ...], reason: str) -> None:
    hub = liar()
    asked = hub.up_to("consistency")
    refuses(hub, 0, replace(asked[0], survivors=survivors), reason, "")
    assert hub.discarded(0, 1)
    hub.usable(2)


def test_a_survivor_set_is_signed_once_and_no_other_one_after_it() -> None:
    hub = liar()
    asked = hub.up_to("consistency")
    assert isinstance(hub.say(0, asked[0])[0], Consistency)
    other = replace(asked[0], survivors=(0, 1, 2, 3))
    refuses(hub, 0, other, "unexpected", "sent Survivors to a hospital that is Signed")
    asked = hub.up_to("consistency", 2)
    hub.say(0, asked[0])
    # not even the same one
    refuses(hub, 0, asked[0], "unexpected", "sent Survivors to a hospital that is Signed")
    hub.usable(3)


def test_another_transcript_is_not_signed() -> None:
    hub = liar()
    asked = hub.up_to("consistency")
    refuses(
        hub,
        0,
        replace(asked[0], transcript=bytes(32)),
        "context",
        "has another transcript of this round",
    )
    hub.usable(2)


def test_a_split_view_of_the_keys_ends_in_different_transcripts() -> None:
    """Hospital 0 is told that hospital 4 never advertised; nobody unmasks."""
    hub = liar()
    lists = hub.up_to("share_keys")
    honest = lists[0]
    assert isinstance(honest, KeyList)
    lists[0] = replace(
        honest, advertised=honest.advertised[:4], numbers=(0, 1, 2, 3), digests=honest.digests[:4]
    )
    hub.gather(hub.tell(lists))
    deliveries = hub.close()
    whole = deliveries[0]
    assert isinstance(whole, Delivery)
    columns = {
        name: getattr(whole, name)[:3]
        for name in ("dealers", "sealed", "commitments", "seed_commitments", "signatures")
    }
    deliveries[0] = replace(whole, members=(0, 1, 2, 3), **columns)
    hub.tell(deliveries)
    hub.gather(hub.tell({who: Grant(round=1) for who in EVERYBODY}))
    asked = hub.close()
    signed = hub.tell(asked)
    assert set(signed) == {1, 2, 3, 4}
    assert hub.refusals[0] == ["context"]
    hub.usable(2)


# ---- unmasking -----------------------------------------------------------------------


def owners(answer: UnmaskShares) -> tuple[set[int], set[int]]:
    return {share.owner for share in answer.self_shares}, {
        share.owner for share in answer.key_shares
    }


def test_survivors_and_dropouts_never_overlap_in_an_answer() -> None:
    hub = liar()
    asked = hub.up_to("unmask", dead={"masked_update": [4]})
    (answer,) = hub.say(0, asked[0])
    assert owners(answer) == ({0, 1, 2, 3}, {4})


@pytest.mark.parametrize("survivors", [(0, 1, 2, 3), (0, 1, 2, 3, 4)])
def test_only_the_signed_set_is_unmasked_whatever_signatures_come_with_another(
    survivors: tuple[int, ...],
) -> None:
    """A dropout is asked for as a survivor, a survivor as a dropout; the signatures over that set
    are all valid.
    """
    hub = liar()
    dead = {"masked_update": [4]} if len(survivors) == 5 else {}
    asked = hub.up_to("unmask", dead=dead)
    script = hub.sessions[0].rounds.current.held.transcript  # type: ignore[union-attr]
    forged = tuple(hub.signed_by(who, script, survivors) for who in survivors)
    request = replace(asked[0], survivors=survivors, signers=survivors, signatures=forged)
    refuses(
        hub, 0, request, "unexpected", "asks to unmask another survivor set than the one signed"
    )
    hub.usable(2)


def test_unmasking_is_answered_once() -> None:
    hub = liar()
    asked = hub.up_to("unmask")
    (answer,) = hub.say(0, asked[0])
    assert isinstance(answer, UnmaskShares)
    refuses(hub, 0, asked[0], "unexpected", "sent UnmaskRequest to a hospital that is Unmasked")
    assert hub.say(0, asked[0]) == [] and hub.sessions[0].rounds.current is None
    hub.usable(2)


@pytest.mark.parametrize(
    ("change", "reason", "words"),
    [
        (
            lambda r: replace(r, signers=r.signers[:3], signatures=r.signatures[:3]),
            "threshold",
            "relayed 3 signatures, 4 are needed",
        ),
        (lambda r: replace(r, signers=(), signatures=()), "threshold", "relayed 0 signatures"),
        (
            lambda r: replace(r, signers=(0, 0, 0, 0), signatures=(r.signatures[0],) * 4),
            "signature",
            "others than the survivors",
        ),
        (lambda r: replace(r, signers=(0, 1, 2, 77)), "signature", "others than the survivors"),
        (lambda r: replace(r, signers=r.signers[:4]), "signature", "others than the survivors"),
        (
            lambda r: replace(r, signatures=(r.signatures[1], *r.signatures[1:])),
            "signature",
            "that hospital 0 did not give",
        ),
        (
            lambda r: replace(r, signatures=(*r.signatures[:4], bytes(64))),
            "signature",
            "that hospital 4 did not give",
        ),
    ],
)
def test_nothing_is_unmasked_without_a_threshold_of_signatures(
    change: Callable[[Any], Any], reason: str, words: str
) -> None:
    hub = liar()
    asked = hub.up_to("unmask")
    refuses(hub, 1, change(asked[1]), reason, words)
    assert hub.discarded(1, 1)
    hub.usable(2)


def test_signatures_of_an_earlier_round_unmask_nothing() -> None:
    hub = liar()
    old = hub.up_to("unmask", 1)
    hub.tell({who: AbortRound(round=1, code="threshold") for who in EVERYBODY})
    hub.up_to("unmask", 2)
    refuses(
        hub,
        0,
        replace(old[0], round=2),
        "signature",
        "relayed a signature that hospital 0 did not give",
    )
    hub.usable(3)


@settings(max_examples=25, deadline=None)
@given(st.data())
def test_in_no_order_of_messages_are_both_shares_of_one_hospital_revealed(
    data: st.DataObject,
) -> None:
    """The coordinator has three colluders, who sign any set, and tries all on hospital 0."""
    hub = liar()
    messages: list[Any] = [*hub.up_to("consistency").values()][:1]
    script = hub.sessions[0].rounds.current.held.transcript  # type: ignore[union-attr]
    sets = [survivors for size in (3, 4, 5) for survivors in combinations(EVERYBODY, size)]
    revealed: list[UnmaskShares] = []
    for _ in range(data.draw(st.integers(1, 8))):
        survivors = data.draw(st.sampled_from(sets))
        signers = data.draw(
            st.lists(st.sampled_from(EVERYBODY), min_size=3, max_size=5, unique=True).map(sorted)
        )
        sent = data.draw(
            st.sampled_from(
                [
                    Survivors(round=1, survivors=survivors, transcript=script),
                    UnmaskRequest(
                        round=1,
                        survivors=survivors,
                        signers=tuple(signers),
                        signatures=tuple(hub.signed_by(who, script, survivors) for who in signers),
                    ),
                    StartRound(round=1, cohort=EVERYBODY),
                    Grant(round=1),
                    messages[0],
                ]
            )
        )
        revealed += [answer for answer in hub.say(0, sent) if isinstance(answer, UnmaskShares)]
    assert len(revealed) <= 1
    for answer in revealed:
        assert not set.intersection(*owners(answer))


# ---- two survivor sets ---------------------------------------------------------------


def two_sets(hub: LyingCoordinator, colluders: set[int], victim: int) -> dict[int, UnmaskShares]:
    """The honest hospitals but the victim sign that it is gone, the victim that all are there;
    colluders sign both. What they reveal.
    """
    asked = hub.up_to("consistency")
    script = hub.sessions[victim].rounds.current.held.transcript  # type: ignore[union-attr]
    whole, fewer = EVERYBODY, tuple(who for who in EVERYBODY if who != victim)
    view = {who: whole if who == victim else fewer for who in EVERYBODY if who not in colluders}
    signed = {
        who: hub.say(who, replace(asked[who], survivors=view[who]))[0].signature for who in view
    }
    revealed = {}
    for who, survivors in view.items():
        signatures = {
            peer: signature for peer, signature in signed.items() if view[peer] == survivors
        }
        signatures |= {
            peer: hub.signed_by(peer, script, survivors) for peer in colluders & set(survivors)
        }
        signers = tuple(sorted(signatures))
        request = UnmaskRequest(
            round=1,
            survivors=survivors,
            signers=signers,
            signatures=tuple(signatures[peer] for peer in signers),
        )
        for answer in hub.say(who, request):
            revealed[who] = answer
    return revealed


def shares_of(
    hub: LyingCoordinator, colluders: set[int], revealed: dict[int, UnmaskShares], owner: int
) -> tuple[dict[int, bytes], ...]:
    """(self-mask shares, mask-key shares) of one hospital that the coordinator has got together."""
    self_shares, key_shares = {}, {}
    for who in colluders:
        held = hub.sessions[who].rounds.current.held  # type: ignore[union-attr]
        self_shares[who], key_shares[who] = (
            held.self_shares[owner].share,
            held.key_shares[owner].share,
        )
    for who, answer in revealed.items():
        for found, column in ((self_shares, answer.self_shares), (key_shares, answer.key_shares)):
            found.update((who, share.share) for share in column if share.owner == owner)
    return self_shares, key_shares


def test_below_2t_minus_n_colluders_two_survivor_sets_cannot_both_be_signed() -> None:
    """n = 5, t = 4: with two colluders only one side reaches four signatures; the victim's mask key
    stays short of its threshold.
    """
    hub = liar()
    revealed = two_sets(hub, {1, 2}, victim=0)
    assert 0 not in revealed  # it saw three signatures for its own set
    self_shares, key_shares = shares_of(hub, {1, 2}, revealed, owner=0)
    assert len(self_shares) < 4 or len(key_shares) < 4


def test_with_2t_minus_n_colluders_the_attack_reads_the_victims_update() -> None:
    """The bound is exact: three colluders of five sign two sets, both secrets of the victim are
    revealed, and its update is read.
    """
    hub = liar()
    colluders, victim = {1, 2, 3}, 0
    revealed = two_sets(hub, colluders, victim)
    assert set(revealed) == {0, 4}
    self_shares, key_shares = shares_of(hub, colluders, revealed, victim)
    seed, private = sharing.combine(self_shares, 4), sharing.combine(key_shares, 4)

    adverts, script = hub.known.adverts, hub.known.transcript
    assert agreement.public_of(private) == adverts[victim].mask_key
    upload = hub.uploaded[victim]
    coding = Coding.of(hub.rig.config, hub.rig.layout)
    masked = coding.ring_type.from_wire(upload.buffers[0], coding.elements).copy()
    streams = [(derive.self_stream(seed, script, victim, "vector"), -1)]
    for other in EVERYBODY[1:]:
        key = derive.pair_stream(
            agreement.shared_secret(private, adverts[other].mask_key),
            script,
            victim,
            other,
            "vector",
        )
        streams.append((key, -derive.pair_sign(victim, other)))
    keystream.apply(masked, streams, coding.ring_type)
    assert np.array_equal(coding.ring_type.signed(masked), integers(hub.rig, victim, 1, CLIPS))


def test_a_late_upload_of_a_declared_dropout_stays_under_its_self_mask() -> None:
    """Its pairwise masks are known once its mask key is rebuilt; without the self mask it would lie
    open (Fed-BioMed's LOM, FATE).
    """
    hub = liar()
    hub.tell(hub.up_to("masked_update"))
    late = hub.say(4, Grant(round=1))[0]
    hub.gather(hub.tell({who: Grant(round=1) for who in (0, 1, 2, 3)}))
    hub.gather(hub.tell(hub.close()))
    answers = hub.tell(hub.close())
    key_shares = {
        who: share.share
        for who, answer in answers.items()
        for share in answer.key_shares
        if share.owner == 4
    }
    self_shares = [
        share for answer in answers.values() for share in answer.self_shares if share.owner == 4
    ]
    assert not self_shares  # nobody reveals a share of a dropout's self mask
    private = sharing.combine(key_shares, 4)
    known, coding = hub.known, Coding.of(hub.rig.config, hub.rig.layout)
    naked = coding.ring_type.from_wire(late.buffers[0], coding.elements).copy()
    pairs = []
    for other in (0, 1, 2, 3):
        secret = agreement.shared_secret(private, known.adverts[other].mask_key)
        pairs.append(
            (
                derive.pair_stream(secret, known.transcript, 4, other, "vector"),
                -derive.pair_sign(4, other),
            )
        )
    keystream.apply(naked, pairs, coding.ring_type)
    assert not np.array_equal(coding.ring_type.signed(naked), integers(hub.rig, 4, 1, CLIPS))
    without = Survivors(round=1, survivors=(0, 1, 2, 3), transcript=known.transcript)
    refuses(hub, 4, without, "unexpected", "left this hospital's update out")
