"""A lying coordinator and real hospitals: who takes part, whose keys, whose model, whose shares.

Each test's name says which defence it guards: without it the test fails.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import numpy as np
import pytest

from crypto import agreement
from federation.messages import (
    AbortRound,
    AdvertiseKeys,
    Grant,
    KeyList,
    StartRound,
    Update,
)
from federation.plan import Binding
from federation.protections import advertisement
from federation.protections import derivations as derive
from tests.adversary import EVERYBODY, LyingCoordinator, liar, refuses
from tests.rig import Rig, config

replace = msgspec.structs.replace


# ---- who takes part ------------------------------------------------------------------


@pytest.mark.parametrize(
    "cohort",
    [
        (0, 1, 2, 3),
        (0, 1, 2, 3, 4, 4),
        (4, 3, 2, 1, 0),
        (0, 1, 2, 3, 77),
        (),
        (0, 1, 2),
        (1, 2, 3, 4),
    ],
    ids=str,
)
def test_another_cohort_than_the_functions_is_refused(cohort: tuple[int, ...]) -> None:
    hub = liar()
    refuses(
        hub,
        0,
        StartRound(round=1, cohort=cohort),
        "cohort",
        "names another cohort than the agreed function gives",
    )
    assert hub.sessions[0].rounds.current is None and hub.sessions[0].durable.answered == 0
    hub.usable(1)


def test_a_hospital_that_is_not_of_the_cohort_takes_no_part_even_if_it_is_named() -> None:
    hub = liar(3, hospitals=5)
    true = hub.plan(1).cohort
    stranger = min(set(range(5)) - set(true))
    refuses(hub, stranger, StartRound(round=1, cohort=true), "cohort", "another cohort")
    refuses(
        hub,
        stranger,
        StartRound(round=1, cohort=tuple(sorted((*true[:2], stranger)))),
        "cohort",
        "another cohort",
    )


def test_a_stranger_among_the_keys_is_refused() -> None:
    """An invented hospital, or one of the roster that this round did not draw."""
    hub = liar(4, hospitals=5)
    lists = hub.up_to("share_keys")
    victim, stranger = hub.plan(1).cohort[0], min(set(range(5)) - set(hub.plan(1).cohort))
    honest = lists[victim]
    assert isinstance(honest, KeyList)
    for number in (stranger, 77):
        numbers = tuple(sorted((*honest.numbers, number)))
        wrong = replace(honest, numbers=numbers, digests=(bytes(32),) * len(numbers))
        hub.restart(victim)
        hub.agree(1, maker=hub.plan(1).cohort[1])
        hub.advertise(hub.round + 1)
        refuses(
            hub,
            victim,
            replace(wrong, round=hub.round),
            "cohort",
            "listed keys of others than the cohort",
        )


def test_a_cohort_below_the_hospitals_own_minimum_is_refused_by_policy() -> None:
    rig = Rig(config("masked", 3, rounds=9))
    rig.sessions[0].rounds.min_cohort = 4
    hub = LyingCoordinator(rig)
    refuses(
        hub,
        0,
        StartRound(round=1, cohort=(0, 1, 2)),
        "policy",
        "starts a round with 3 hospitals; this one asks for 4",
    )


def test_two_hospitals_are_refused_unless_the_config_says_so() -> None:
    """The paper's cohort of 2 gives each the other's update: min_cohort = 2 must stand in
    federation.toml and in the policy.
    """
    assert liar(2, min_cohort=2).tell({0: StartRound(round=1, cohort=(0, 1))})
    rig = Rig(config("masked", 2, rounds=9, min_cohort=2))
    rig.sessions[0].rounds.min_cohort = 3
    hub = LyingCoordinator(rig)
    refuses(hub, 0, StartRound(round=1, cohort=(0, 1)), "policy", "asks for 3")


@pytest.mark.parametrize("phase", ["share_keys", "masked_update", "consistency"])
def test_fewer_than_the_hospitals_own_minimum_are_refused_in_every_phase(phase: str) -> None:
    """threshold 3 would let three survive; this hospital asks for four."""
    rig = Rig(config("masked", 5, rounds=9, threshold=3))
    rig.sessions[0].rounds.min_cohort = 4
    hub = LyingCoordinator(rig)
    messages = hub.up_to(phase, dead={phase_before(phase): (3, 4)})
    refuses(hub, 0, messages[0], "threshold", "")
    assert hub.discarded(0, 1)
    hub.usable(2)


def phase_before(phase: str) -> str:
    names = ["advertise_keys", "share_keys", "masked_update", "consistency", "unmask"]
    return names[names.index(phase) - 1]


# ---- keys ----------------------------------------------------------------------------


def swapped_keys(adverts: dict[int, AdvertiseKeys]) -> dict[str, AdvertiseKeys]:
    """What a coordinator would like hospital 0 to take for hospital 1's keys."""
    own = agreement.generate().public
    return {
        "its own mask key": replace(adverts[1], mask_key=own),
        "its own channel key": replace(adverts[1], channel_key=own),
        "mask and channel key exchanged": replace(
            adverts[1], mask_key=adverts[1].channel_key, channel_key=adverts[1].mask_key
        ),
        "another hospital's mask key": replace(adverts[1], mask_key=adverts[2].mask_key),
        "another hospital's advertisement": replace(adverts[2], sender=1),
        "another signature": replace(adverts[1], signature=adverts[2].signature),
        "other holders": replace(adverts[1], holders=(0, 1, 2, 3)),
    }


@pytest.mark.parametrize(
    "how", list(swapped_keys(dict.fromkeys(range(3), AdvertiseKeys(0, 0, *(b"",) * 4, (), b""))))
)
def test_swapped_round_keys_are_refused_by_the_roster_signature(how: str) -> None:
    hub = liar()
    lists = hub.up_to("share_keys")
    honest = lists[0]
    forged = swapped_keys(hub.state.adverts)[how]  # type: ignore[attr-defined]
    adverts = tuple(forged if advert.sender == 1 else advert for advert in honest.advertised)  # type: ignore[attr-defined]
    refuses(
        hub,
        0,
        replace(honest, advertised=adverts),
        "unexpected",
        "relayed keys that are not the listed ones",
    )
    digests = tuple(advertisement.digest_of(advert) for advert in adverts)
    reason = "malformed" if how == "other holders" else "signature"
    refuses(
        hub,
        2,
        replace(lists[2], advertised=adverts, digests=digests),
        reason,
        "relayed keys of hospital 1, which",
    )
    hub.usable(2)


def test_our_own_keys_in_our_own_name_only() -> None:
    hub = liar()
    lists = hub.up_to("share_keys", 1)
    old = {who: advert for who, advert in hub.state.adverts.items()}  # type: ignore[attr-defined]
    hub.tell({who: AbortRound(round=1, code="threshold") for who in EVERYBODY})
    lists = hub.up_to("share_keys", 2)
    for who, other in ((0, old[0]), (1, replace(lists[1].advertised[1], mask_key=old[1].mask_key))):  # type: ignore[attr-defined]
        adverts = tuple(
            replace(other, round=2) if advert.sender == who else advert
            for advert in lists[who].advertised
        )  # type: ignore[attr-defined]
        digests = tuple(advertisement.digest_of(advert) for advert in adverts)
        refuses(
            hub,
            who,
            replace(lists[who], advertised=adverts, digests=digests),
            "signature",
            f"hospital {who}",
        )
    hub.usable(3)


def test_keys_of_an_earlier_round_are_refused() -> None:
    """Signed by the right hospital, for another round: its masks would repeat."""
    hub = liar()
    hub.up_to("share_keys", 1)
    old = hub.state.adverts[1]  # type: ignore[attr-defined]
    hub.tell({who: AbortRound(round=1, code="threshold") for who in EVERYBODY})
    lists = hub.up_to("share_keys", 2)
    adverts = tuple(
        replace(old, round=2) if advert.sender == 1 else advert for advert in lists[0].advertised
    )  # type: ignore[attr-defined]
    digests = tuple(advertisement.digest_of(advert) for advert in adverts)
    refuses(
        hub,
        0,
        replace(lists[0], advertised=adverts, digests=digests),
        "signature",
        "relayed keys of hospital 1",
    )
    hub.usable(3)


def test_a_neighbours_keys_cannot_be_kept_back() -> None:
    hub = liar()
    lists = hub.up_to("share_keys")
    short = replace(lists[0], advertised=lists[0].advertised[:-1])  # type: ignore[attr-defined]
    refuses(hub, 0, short, "unexpected", "kept back the keys of a neighbour")
    none = replace(lists[1], advertised=(), numbers=(1,), digests=lists[1].digests[:1])  # type: ignore[attr-defined]
    refuses(hub, 1, none, "threshold", "listed keys of 1 hospitals, too few or without ours")
    hub.usable(2)


def test_fresh_keys_and_masks_in_every_round() -> None:
    hub = liar()
    keys: list[bytes] = []
    for round_ in (1, 2, 3):
        hub.up_to("consistency", round_)
        for advert in hub.known.adverts.values():
            keys += [advert.mask_key, advert.channel_key]
        hub.tell({who: AbortRound(round=round_, code="threshold") for who in EVERYBODY})
    assert len(set(keys)) == 3 * 5 * 2


# ---- model inconsistency -------------------------------------------------------------


def test_another_model_at_one_hospital_is_refused_by_all_before_a_share_is_dealt() -> None:
    """Pasquini et al. 2022: a hospital that was given another model would stand out of the sum."""
    hub = liar()
    adverts = hub.advertise(1)
    odd = hub.sessions[2]
    hub.tell({2: AbortRound(round=1, code="threshold")})
    odd.shared.vector = odd.shared.vector + np.float32(1)
    adverts = hub.advertise(2)
    state, lists = hub.state.close()
    # the honest coordinator leaves it out
    assert 2 not in lists and [fault.who for fault in state.faults] == [2]
    near = tuple(adverts[who] for who in EVERYBODY)
    digests = tuple(advertisement.digest_of(advert) for advert in near)
    for who in (0, 1, 3, 4):  # a lying one relays its keys all the same
        everything = KeyList(round=2, advertised=near, numbers=EVERYBODY, digests=digests)
        refuses(
            hub,
            who,
            everything,
            "context",
            "hospital 2, which has another model or group key",
        )
    refuses(
        hub,
        2,
        KeyList(round=2, advertised=near, numbers=EVERYBODY, digests=digests),
        "context",
        "hospital 0, which has another model",
    )
    hub.usable(3, without=[2])


def test_masks_are_bound_to_the_model_so_that_a_hospital_led_astray_would_read_as_noise() -> None:
    """Were the context taken on trust, the streams of a pair would still differ: the digest is in
    their keys.
    """
    private, public = agreement.generate(), agreement.generate()
    plan = liar().plan(1)
    streams = set()
    for digest in (bytes(32), b"\1" * 32):
        context = plan.context(Binding(digest, bytes(32)))
        script = derive.transcript(context, EVERYBODY, (bytes(32),) * 5, EVERYBODY)
        streams.add(
            derive.pair_stream(
                agreement.shared_secret(private.private, public.public), script, 0, 1, "vector"
            )
        )
        streams.add(derive.self_stream(bytes(32), script, 0, "vector"))
    assert len(streams) == 4


# ---- shares --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "reason", "words"),
    [
        (
            lambda d: replace(d, members=(0, 1, 2, 3, 77)),
            "cohort",
            "delivered shares of others than those listed",
        ),
        (
            lambda d: replace(d, members=(1, 2, 3, 4)),
            "cohort",
            "delivered shares of others than those listed",
        ),
        (
            lambda d: replace(d, members=(0, 1, 2)),
            "threshold",
            "only 3 hospitals have shared their keys",
        ),
        (
            lambda d: replace(d, dealers=d.dealers[:-1]),
            "unexpected",
            "exactly one share of each dealer",
        ),
        (
            lambda d: replace(d, dealers=(1, 1, 3, 4)),
            "unexpected",
            "exactly one share of each dealer",
        ),
        (
            lambda d: replace(d, sealed=d.sealed[:-1]),
            "unexpected",
            "exactly one share of each dealer",
        ),
        (lambda d: replace(d, signatures=()), "unexpected", "exactly one share of each dealer"),
        (
            lambda d: replace(d, seed_commitments=(*d.seed_commitments, bytes(32))),
            "unexpected",
            "exactly one share of each dealer",
        ),
    ],
)
def test_a_delivery_that_is_not_one_share_of_each_dealer_is_refused(
    change: Callable[[Any], Any], reason: str, words: str
) -> None:
    hub = liar()
    deliveries = hub.up_to("masked_update")
    refuses(hub, 0, change(deliveries[0]), reason, words)
    hub.usable(2)


@pytest.mark.parametrize("field", ["sealed", "commitments", "signatures", "seed_commitments"])
def test_shares_that_pass_through_the_coordinator_changed_are_noticed_with_their_dealer(
    field: str,
) -> None:
    for exchange in (True, False):
        hub = liar()
        deliveries = hub.up_to("masked_update")
        column = getattr(deliveries[0], field)
        changed = (
            (column[1], column[0], *column[2:])
            if exchange
            else (bytes(len(column[0])), *column[1:])
        )
        hub.tell(deliveries | {0: replace(deliveries[0], **{field: changed})})
        assert hub.sessions[0].rounds.current.held.bad_dealers == ((1, 2) if exchange else (1,))  # type: ignore[union-attr]


def test_shares_of_another_round_do_not_open() -> None:
    hub = liar()
    old = hub.up_to("masked_update", 1)
    hub.tell({who: AbortRound(round=1, code="threshold") for who in EVERYBODY})
    hub.up_to("masked_update", 2)
    hub.say(0, replace(old[0], round=2))
    assert hub.sessions[0].rounds.current.held.bad_dealers == (1, 2, 3, 4)  # type: ignore[union-attr]


def test_a_grant_twice_gives_one_vector() -> None:
    """Two vectors under one mask would be a difference in the clear."""
    hub = liar()
    hub.tell(hub.up_to("masked_update"))
    (update,) = hub.say(0, Grant(round=1))
    assert isinstance(update, Update)
    refuses(hub, 0, Grant(round=1), "unexpected", "sent Grant to a hospital that is Masked")
    hub.usable(2)
