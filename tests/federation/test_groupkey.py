"""The group's key from hospital to hospital: the coordinator carries it and can neither read,
change, exchange nor repeat it.
"""

from __future__ import annotations

import os
from dataclasses import replace

import msgspec
import pytest

from crypto import agreement, sealing, signing
from crypto.kdf import derive, digest
from federation import groupkey
from federation.codec import encode
from federation.errors import FaultyCoordinator, FaultyHospital, Reason
from federation.groupkey import Asking, GroupKey
from federation.messages import StateAnswer, StateRequest
from tests.rig import RUN, Rig, config

RIG = Rig(config("masked", 4))
ROSTER, KEY, MODEL = RIG.roster, GroupKey(3, b"k" * 32, b"ckks key"), b"a model file"
ASKER, SOURCE, OTHER = 1, 2, 3
changed = msgspec.structs.replace


def signing_key(who: int) -> bytes:
    return RIG.secrets[who].signing_key


def ask(source: int = SOURCE, applied: int = 5, me: int = ASKER) -> Asking:
    return groupkey.ask(
        RUN,
        ROSTER,
        me=me,
        source=source,
        epoch=3,
        applied=applied,
        signing_key=signing_key(me),
        random=os.urandom,
    )


def answer_to(
    request: StateRequest,
    by: int = SOURCE,
    key: GroupKey = KEY,
    model: bytes = MODEL,
    run: bytes = RUN,
) -> StateAnswer:
    return groupkey.answer(
        run, ROSTER, request, key, model, signing_key=signing_key(by), random=os.urandom
    )


def accept(asking: Asking, answer: StateAnswer, run: bytes = RUN) -> tuple[GroupKey, bytes]:
    return groupkey.accept(run, ROSTER, asking, answer, RIG.secrets[ASKER].sealing_key)


def test_an_answer_gives_key_and_model() -> None:
    asking = ask()
    assert accept(asking, answer_to(asking.request)) == (KEY, MODEL)
    assert accept(asking, answer_to(asking.request, model=b"")) == (KEY, b"")


def test_the_frames_hold_neither_key_nor_model() -> None:
    asking = ask()
    answer = answer_to(asking.request)
    sent = b"".join(bytes(frame) for frame in encode(answer))
    for secret in (KEY.secret, KEY.ckks, MODEL, asking.private):
        assert secret not in sent


@pytest.mark.parametrize("field", ["epoch", "asker", "source", "applied", "public", "signature"])
def test_a_request_that_was_changed_on_the_way_is_not_answered(field: str) -> None:
    request = ask().request
    value = getattr(request, field)
    forged = changed(
        request,
        **{field: value[:-1] + bytes([value[-1] ^ 1]) if isinstance(value, bytes) else value + 1},
    )
    with pytest.raises(FaultyHospital) as refused:
        answer_to(forged)
    assert refused.value.reason == Reason.SIGNATURE


def test_a_request_of_a_stranger_or_of_another_run_is_not_answered() -> None:
    for request, run in (
        (changed(ask().request, asker=60_000), RUN),
        (ask().request, b"another run 0000"),
    ):
        with pytest.raises(FaultyHospital, match="did not sign this request"):
            answer_to(request, run=run)


def test_a_request_with_a_key_of_low_order_is_refused_by_name() -> None:
    request = changed(ask().request, public=bytes(32))
    parts = (
        RUN,
        ROSTER.digest,
        request.epoch,
        request.asker,
        request.source,
        request.applied,
        request.public,
    )
    signed = changed(request, signature=signing.sign(signing_key(ASKER), "state-request", *parts))
    with pytest.raises(FaultyHospital, match=f"hospital {ASKER}: sent an unusable public key"):
        answer_to(signed)


@pytest.mark.parametrize("field", ["epoch", "asker", "source"])
def test_an_answer_to_another_request_is_the_coordinators_fault(field: str) -> None:
    asking = ask()
    answer = answer_to(asking.request)
    with pytest.raises(FaultyCoordinator, match="an answer to another request"):
        accept(asking, changed(answer, **{field: getattr(answer, field) + 1}))


@pytest.mark.parametrize("field", ["public", "signature", "buffers"])
def test_an_answer_that_was_changed_on_the_way_is_the_coordinators_fault(field: str) -> None:
    asking = ask()
    answer = answer_to(asking.request)
    value = bytearray(answer.buffers[0] if field == "buffers" else getattr(answer, field))
    for at in {0, len(value) // 2, len(value) - 1}:
        value[at] ^= 1
        forged = changed(answer, **{field: (bytes(value),) if field == "buffers" else bytes(value)})
        with pytest.raises(
            FaultyCoordinator, match=f"an answer that hospital {SOURCE} did not sign"
        ):
            accept(asking, forged)
        value[at] ^= 1


@pytest.mark.parametrize("buffers", [(), (b"a", b"b")])
def test_an_answer_has_one_box(buffers: tuple[bytes, ...]) -> None:
    asking = ask()
    with pytest.raises(FaultyCoordinator):
        accept(asking, changed(answer_to(asking.request), buffers=buffers))


def test_an_answer_is_good_for_one_request_only() -> None:
    """Replayed for a later request of the same hospital to the same source, or for another run."""
    first, second = ask(), ask()
    answer = answer_to(first.request)
    assert accept(first, answer)[0] == KEY
    with pytest.raises(FaultyCoordinator, match="did not sign"):
        accept(second, answer)
    with pytest.raises(FaultyCoordinator, match="did not sign"):
        accept(first, answer, run=b"another run 0000")


def test_answers_to_two_askers_cannot_be_exchanged() -> None:
    mine = ask()
    theirs = ask(me=OTHER)
    swapped = changed(answer_to(theirs.request), asker=ASKER)
    with pytest.raises(FaultyCoordinator):
        accept(mine, swapped)


def test_another_hospital_cannot_answer_in_the_sources_name() -> None:
    asking = ask()
    with pytest.raises(FaultyCoordinator, match=f"an answer that hospital {SOURCE} did not sign"):
        accept(asking, answer_to(asking.request, by=OTHER))


def test_the_coordinator_cannot_ask_in_a_hospitals_name_nor_answer_in_one() -> None:
    pair = agreement.generate()
    request = changed(ask().request, public=pair.public)
    with pytest.raises(FaultyHospital):
        answer_to(request)


def test_an_answer_opens_only_with_the_askers_long_lived_key_too() -> None:
    """Whoever stole the signing key alone, and so can ask in its name, gets a box that it cannot
    open.
    """
    asking = ask()
    answer = answer_to(asking.request)
    with pytest.raises(FaultyHospital, match="does not open"):
        groupkey.accept(RUN, ROSTER, asking, answer, RIG.secrets[OTHER].sealing_key)


def sealed_by_source(asking: Asking, plain: bytes) -> StateAnswer:
    """Signed and sealed as it must be, by a source that seals what it likes."""
    request, pair = asking.request, agreement.generate()
    parts = (
        RUN,
        ROSTER.digest,
        request.epoch,
        request.asker,
        request.source,
        request.applied,
        request.public,
    )
    secret = agreement.shared_secret(pair.private, request.public)
    secret += agreement.shared_secret(pair.private, bytes.fromhex(ROSTER.hospitals[ASKER].sealing))
    box = sealing.seal(derive(secret, "state-answer", *parts, pair.public), plain, b"state-answer")
    signature = signing.sign(
        signing_key(SOURCE), "state-answer", *parts, pair.public, digest("sealed-state", box)
    )
    return StateAnswer(
        epoch=3, asker=ASKER, source=SOURCE, public=pair.public, signature=signature, buffers=(box,)
    )


@pytest.mark.parametrize(
    ("plain", "words"),
    [
        (b"", "does not open"),
        (b"rubbish", "does not open"),
        (msgspec.msgpack.encode([3, b"k" * 32, b""]), "does not open"),
        (msgspec.msgpack.encode([3, b"k" * 32, b"", b"", b""]), "does not open"),
        (msgspec.msgpack.encode([3, "text", b"", b""]), "does not open"),
        (msgspec.msgpack.encode([4, b"k" * 32, b"", b""]), "a key of another epoch"),
        (msgspec.msgpack.encode([3, b"k" * 31, b"", b""]), "a key of another epoch"),
    ],
)
def test_a_source_that_seals_rubbish_is_named(plain: bytes, words: str) -> None:
    asking = ask()
    assert accept(
        asking, sealed_by_source(asking, msgspec.msgpack.encode([3, KEY.secret, KEY.ckks, MODEL]))
    ) == (KEY, MODEL)
    with pytest.raises(FaultyHospital, match=words) as refused:
        accept(asking, sealed_by_source(asking, plain))
    assert refused.value.who == SOURCE


def test_the_identifier_tells_keys_apart_and_nothing_about_them() -> None:
    keys = [KEY, replace(KEY, epoch=4), replace(KEY, secret=b"j" * 32), replace(KEY, ckks=b"")]
    assert len({key.identifier for key in keys}) == 4 and all(
        len(key.identifier) == 32 for key in keys
    )
    assert KEY.identifier == GroupKey(3, b"k" * 32, b"ckks key").identifier
    assert len({key.hide(bytes(32)) for key in (KEY, keys[2])}) == 2 and KEY.hide(
        bytes(32)
    ) != KEY.hide(b"1" * 32)


def test_printing_a_key_shows_only_its_epoch() -> None:
    assert repr(KEY) == "GroupKey(epoch=3, …)"


@pytest.mark.parametrize(
    ("epoch", "round_", "serves"), [(3, 2, False), (3, 3, True), (3, 12, True), (3, 13, False)]
)
def test_a_key_serves_its_rounds_only(epoch: int, round_: int, serves: bool) -> None:
    assert GroupKey(epoch, b"k" * 32).serves(round_, key_rounds=10) is serves
