"""A lying coordinator and real hospitals: replayed rounds, forged aggregates, messages out of
order.

Each test's name says which defence it guards: without it the test fails.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import numpy as np
import pytest

from federation.coding import Coding
from federation.messages import (
    AbortRound,
    Aggregate,
    Delivery,
    Grant,
    KeyList,
    StartRound,
    Survivors,
    UnmaskRequest,
    Welcome,
)
from tests.adversary import (
    CLIPS,
    EVERYBODY,
    LyingCoordinator,
    Rewrite,
    integers,
    liar,
    put,
    refuses,
)
from tests.rig import Rig, config

replace = msgspec.structs.replace


# ---- replay --------------------------------------------------------------------------


@pytest.mark.parametrize(
    "phase", ["share_keys", "masked_update", "consistency", "unmask", "aggregate"]
)
def test_a_round_is_not_answered_twice_even_after_a_restart(phase: str) -> None:
    hub = liar()
    messages = hub.up_to(phase)
    start = StartRound(round=1, cohort=EVERYBODY)
    hub.restart(0)
    assert hub.say(0, messages[0]) == []  # the new process knows no secret of the round
    hub.agree(1, maker=1, among=[0])
    refuses(hub, 0, start, "replay", "starts round 1, which this hospital has answered")
    hub.usable(2)


def test_a_round_that_is_being_answered_is_not_begun_again() -> None:
    hub = liar()
    hub.advertise(1)
    refuses(hub, 0, StartRound(round=1, cohort=EVERYBODY), "replay", "starts round 1")
    assert hub.discarded(0, 1)
    hub.usable(2)


def test_rounds_only_go_forward_and_end() -> None:
    hub = liar()
    hub.usable(4)
    for round_ in (0, 1, 3, 4, 10):
        refuses(
            hub,
            0,
            StartRound(round=round_, cohort=hub.plan(round_).cohort),
            "replay",
            f"starts round {round_}",
        )
    hub.usable(5)


def test_a_run_that_is_over_is_not_taken_up_again() -> None:
    hub = liar()
    hub.usable(1)
    hub.say(0, Welcome(run=b"n" * 16, rounds=9))
    assert hub.sessions[0].shared.round == 0
    refuses(
        hub,
        0,
        Welcome(run=bytes(range(16)), rounds=9),
        "replay",
        "leads a run that is over",
    )
    hub.restart(0)
    refuses(
        hub,
        0,
        Welcome(run=bytes(range(16)), rounds=9),
        "replay",
        "leads a run that is over",
    )


# ---- the aggregate -------------------------------------------------------------------


def forgeries(hub: LyingCoordinator, honest: Aggregate) -> dict[str, Aggregate]:
    """Aggregates with every signature in order that are not the survivors' sum."""
    coding = Coding.of(hub.rig.config, hub.rig.layout)
    ring = coding.ring_type
    each = {who: integers(hub.rig, who, 1, CLIPS) for who in EVERYBODY}
    total = sum(each.values())
    assert np.array_equal(ring.signed(ring.from_wire(honest.buffers[0], coding.elements)), total)

    def of(values: np.ndarray) -> Aggregate:
        return replace(honest, buffers=(ring.to_wire(values.astype(ring.dtype)),))

    one_off = total.copy()
    one_off[3] += 1
    wrapped = total.copy()
    wrapped[0] += 1 << (coding.ring - 1)
    return {
        "one update twice": of(total + each[1]),
        "a survivor's update lacking": of(total - each[1]),
        "one hospital's update alone": of(each[1]),
        "weights made to copy images": of(np.full_like(total, 2000)),
        "zero": of(np.zeros_like(total)),
        "one element one step off": of(one_off),
        "one element off by half the ring": of(wrapped),
        "twice": of(2 * total),
        "another tag": replace(honest, tag=bytes(8)),
        "no tag": replace(honest, tag=None),
    }


NAMES = [
    "one update twice",
    "a survivor's update lacking",
    "one hospital's update alone",
    "weights made to copy images",
    "zero",
    "one element one step off",
    "one element off by half the ring",
    "twice",
    "another tag",
    "no tag",
]


def test_no_forged_aggregate_is_applied_by_anybody_because_of_the_tag() -> None:
    for name in NAMES:  # each at its first try
        hub = liar()
        honest = hub.up_to("aggregate")[0]
        assert isinstance(honest, Aggregate)
        forged = forgeries(hub, honest)
        assert list(forged) == NAMES
        before = hub.sessions[0].shared.digest
        refuses(hub, 0, forged[name], "aggregate", "is not the sum of the survivors' updates")
        assert hub.sessions[0].shared.digest == before, name
        assert hub.discarded(0, 1)
        hub.usable(2, without=[])


@pytest.mark.parametrize("name", NAMES)
def test_a_forged_aggregate_to_one_hospital_leaves_it_behind_and_the_run_goes_on(name: str) -> None:
    """Over the wire: hospital 0 refuses, gets the model from a peer before the next round, and
    takes part again.
    """
    hub = liar()
    honest = hub.up_to("aggregate")[0]
    assert isinstance(honest, Aggregate)
    values = forgeries(hub, honest)[name]

    def change(message: Any) -> Any:
        if name.endswith("tag"):
            return replace(message, tag=values.tag)
        return replace(message, buffers=values.buffers)

    wire = Rewrite(Aggregate, change, only=0, round_=1)
    rig = Rig(config("masked", 5, rounds=2), fault=wire).play()
    assert wire.changed == 1 and rig.run.completed == 2
    assert [stand.applied_rounds for stand in rig.stands.values()] == [[1, 2]] * 5
    assert rig.stands[0].counted == [False, True] and rig.stands[0].private == [2]
    assert len({session.shared.digest for session in rig.sessions.values()}) == 1


@pytest.mark.parametrize(
    ("change", "reason", "words"),
    [
        (put(survivors=(0, 1, 2, 3)), "aggregate", "another survivor set than the one signed"),
        (put(signers=(0, 1, 2), signatures=(bytes(64),) * 3), "threshold", "relayed 3 signatures"),
        (
            put(signers=(0, 0, 1, 2), signatures=(bytes(64),) * 4),
            "signature",
            "others than the survivors",
        ),
        (
            lambda a: replace(a, signatures=(*a.signatures[1:], a.signatures[0])),
            "signature",
            "did not give",
        ),
        (put(transcript=bytes(32)), "signature", "did not give"),
        (put(buffers=()), "malformed", "another length"),
        (lambda a: replace(a, buffers=(bytes(a.buffers[0])[:-2],)), "malformed", "another length"),
        (
            lambda a: replace(a, buffers=(bytes(a.buffers[0]) + b"ab",)),
            "malformed",
            "another length",
        ),
        (lambda a: replace(a, buffers=a.buffers * 2), "malformed", "another length"),
        (put(round=2), "signature", "did not give"),
    ],
)
def test_an_aggregate_needs_its_signatures_set_and_length(
    change: Callable[[Any], Any], reason: str, words: str
) -> None:
    hub = liar()
    honest = hub.up_to("aggregate")[0]
    refuses(hub, 0, change(honest), reason, words)
    hub.usable(2)


def test_an_aggregate_is_applied_once() -> None:
    hub = liar()
    messages = hub.up_to("aggregate")
    hub.tell(messages)
    digest = hub.sessions[0].shared.digest
    refuses(hub, 0, messages[0], "replay", "sent an aggregate of round 1, which is behind")
    assert hub.sessions[0].shared.digest == digest
    hub.usable(2)


def test_a_tag_is_guessed_once_a_round_and_not_until_it_fits() -> None:
    hub = liar()
    honest = hub.up_to("aggregate")
    refuses(hub, 0, replace(honest[0], tag=bytes(8)), "aggregate", "is not the sum")
    for word in (b"another!", honest[0].tag):  # type: ignore[union-attr]
        refuses(
            hub,
            0,
            replace(honest[0], tag=word),
            "replay",
            "sent an aggregate of round 1, which is behind",
        )
    assert hub.sessions[0].shared.round == 0
    hub.usable(2)


def test_a_hospital_that_has_signed_nothing_still_checks_everything() -> None:
    """It was a dropout, or not of the cohort: signatures, tag and context bind it all the same."""
    hub = liar(4, hospitals=5)
    outside = min(set(range(5)) - set(hub.plan(1).cohort))
    honest = hub.up_to("aggregate")[outside]
    assert isinstance(honest, Aggregate)
    for forged, reason in (
        (replace(honest, signatures=(bytes(64),) * len(honest.signers)), "signature"),
        (
            replace(honest, signers=honest.signers[:2], signatures=honest.signatures[:2]),
            "threshold",
        ),
    ):
        refuses(hub, outside, forged, reason, "")
    hub.say(outside, honest)
    assert hub.sessions[outside].shared.round == 1
    assert hub.rig.stands[outside].trained == []


# ---- out of order --------------------------------------------------------------------


def test_a_message_of_another_phase_ends_the_round_for_this_hospital_only() -> None:
    order = [KeyList, Delivery, Grant, Survivors, UnmaskRequest]
    phases = ["share_keys", "masked_update", "masked_update", "consistency", "unmask"]
    kept: dict[type, Any] = {Grant: Grant(round=1)}
    hub = liar()
    for name in dict.fromkeys(phases):
        fresh = liar()
        message = fresh.up_to(name)[0]
        kept[type(message)] = message
    for at, name in enumerate(phases):
        for wrong in order:
            hub = liar()
            messages = hub.up_to(name)
            if order[at] is Grant:
                hub.tell(messages)
            if wrong is order[at]:
                continue
            refuses(
                hub, 0, kept[wrong], "unexpected", f"sent {wrong.__name__} to a hospital that is"
            )
            assert hub.sessions[0].rounds.current is None and hub.discarded(0, 1)


def test_what_comes_for_a_round_that_was_left_is_noted_and_not_answered() -> None:
    hub = liar()
    asked = hub.up_to("unmask")
    hub.say(0, AbortRound(round=1, code="threshold"))
    assert hub.say(0, asked[0]) == []
    assert "UnmaskRequest came after this hospital had left the round" in hub.notes[0][-1]
    hub.usable(2)
