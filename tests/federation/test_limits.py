"""The largest message that an honest party sends fits the limit that its receiver sets, at every
size of federation.
"""

from __future__ import annotations

import pytest

from federation import model, protections
from federation.codec import Limits, encode
from federation.groupkey import GroupKey
from federation.limits import from_coordinator, from_hospital, state_bytes, vector_bytes
from federation.messages import (
    AdvertiseKeys,
    Aggregate,
    Delivery,
    KeyList,
    Message,
    RevealedShare,
    ShareKeys,
    StateAnswer,
    UnmaskRequest,
    UnmaskShares,
)
from federation.protections.derivations import BOX_BYTES
from tests.rig import config, start_model

ROUND, FAR = 2**31 - 1, 65_535  # the longest numbers there are
KEY, SIGNATURE = bytes(32), bytes(64)


def largest(n: int) -> tuple[list[Message], list[Message]]:
    """(from a hospital, from the coordinator), with n hospitals in a complete graph."""
    numbers = tuple(range(FAR - n + 1, FAR + 1))
    box, both = bytes(BOX_BYTES + 16), bytes(64)
    share = RevealedShare(FAR, bytes(33), bytes(16))
    advert = AdvertiseKeys(
        round=ROUND,
        sender=FAR,
        model=KEY,
        group_key=KEY,
        mask_key=KEY,
        channel_key=KEY,
        holders=numbers,
        signature=SIGNATURE,
    )
    up: list[Message] = [
        advert,
        ShareKeys(
            round=ROUND,
            sealed=(box,) * n,
            commitments=(both,) * n,
            signatures=(SIGNATURE,) * n,
            seed_commitment=KEY,
        ),
        UnmaskShares(
            round=ROUND, self_shares=(share,) * n, key_shares=(share,) * n, bad_dealers=numbers
        ),
    ]
    down: list[Message] = [
        KeyList(round=ROUND, advertised=(advert,) * n, numbers=numbers, digests=(KEY,) * n),
        Delivery(
            round=ROUND,
            members=numbers,
            dealers=numbers,
            sealed=(box,) * n,
            commitments=(both,) * n,
            seed_commitments=(KEY,) * n,
            signatures=(SIGNATURE,) * n,
        ),
        UnmaskRequest(round=ROUND, survivors=numbers, signers=numbers, signatures=(SIGNATURE,) * n),
        Aggregate(
            round=ROUND,
            survivors=numbers,
            transcript=KEY,
            signers=numbers,
            signatures=(SIGNATURE,) * n,
            tag=bytes(8),
        ),
    ]
    return up, down


def body(message: Message) -> int:
    return len(encode(message)[1])


@pytest.mark.parametrize("n", [1, 2, 5, 60, 400])
def test_every_honest_body_fits(n: int) -> None:
    settings, layout = config("masked", n, ring=32), start_model().layout
    up, down = largest(n)
    assert max(body(message) for message in up) <= from_hospital(settings, layout, n).body
    assert max(body(message) for message in down) <= from_coordinator(settings, layout, n).body


@pytest.mark.parametrize("n", [5, 400])
def test_the_limit_is_a_few_times_what_is_needed_and_not_more(n: int) -> None:
    settings, layout = config("masked", n, ring=32), start_model().layout
    up, down = largest(n)
    assert from_hospital(settings, layout, n).body <= 4096 + 3 * max(
        body(message) for message in up
    )
    assert from_coordinator(settings, layout, n).body <= 8192 + 3 * max(
        body(message) for message in down
    )


@pytest.mark.parametrize("kind", ["masked", "ckks", "masked+ckks"])
def test_a_sealed_state_fits(kind: str) -> None:
    settings, shared = config(kind, 5), start_model()
    ckks = protections.get(kind).make_key(settings)
    state = len(model.to_bytes(shared)) + len(GroupKey(1, KEY, ckks).ckks) + 32
    grant = StateAnswer(
        epoch=ROUND,
        asker=FAR,
        source=FAR,
        public=KEY,
        signature=SIGNATURE,
        buffers=(bytes(state + 16 + 64),),
    )
    assert len(grant.buffers[0]) <= state_bytes(shared.layout)
    assert body(grant) <= from_hospital(settings, shared.layout, 5).body


def test_a_hospital_may_send_no_large_message_unless_it_was_told_to() -> None:
    settings, layout = config("masked", 5), start_model().layout
    assert from_hospital(settings, layout, 5) == Limits(from_hospital(settings, layout, 5).body, 0)
    assert from_coordinator(settings, layout, 5).buffers >= vector_bytes(settings, layout)[1]
