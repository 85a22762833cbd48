"""`ckks` and `masked+ckks` over real sessions: who can read what, who may die when, and what a
refused sum costs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import msgspec
import numpy as np
import pytest

from crypto.ckks import Adder, Encryptor
from crypto.errors import ConfigOverflow
from crypto.kdf import derive
from crypto.packing import Packing
from federation.coding import Coding, Contribution
from federation.effects import Applied, Send
from federation.errors import ConfigError, Reason
from federation.messages import (
    AdvertiseKeys,
    Aggregate,
    Consistency,
    Message,
    Refusal,
    ShareKeys,
    Synchronise,
    UnmaskShares,
    Update,
)
from federation.model import SharedModel
from federation.protections.ckks import packing
from federation.records.events import HospitalLost, RoundDiscarded, RoundFailed
from tests.rig import RUN, Rig, config, default_update, start_model

KINDS = ["ckks", "masked+ckks"]
PHASES = (AdvertiseKeys, ShareKeys, Update, Consistency, UnmaskShares)
Change = Callable[[int, Any], Any]


class Wire:
    """A fault that only listens, or changes (`change(hospital, message)`) messages of one kind."""

    def __init__(
        self, kind: type[Message] = Message, change: Change = lambda who, message: message
    ) -> None:
        self.kind, self.change = kind, change
        self.up: list[tuple[int, Any]] = []
        self.down: list[tuple[int, Any]] = []

    def __call__(
        self, who: int, direction: str, message: Message, now: float
    ) -> Iterable[tuple[float, Message]]:
        changed = self.change(who, message) if isinstance(message, self.kind) else message
        (self.up if direction == "up" else self.down).append((who, changed))
        return ((0.0, changed),)

    def uploads(self, who: int) -> list[Update]:
        return [
            message for sender, message in self.up if sender == who and isinstance(message, Update)
        ]

    def refusals(self) -> list[tuple[int, str]]:
        return [(who, message.code) for who, message in self.up if isinstance(message, Refusal)]


def contribution(rig: Rig, who: int, round_: int) -> Contribution:
    key = derive(rig.secrets[who].own_secret, "rounding", RUN, round_)
    clips = start_model(rig.config.protection.clip).clips
    return Contribution(default_update(who, round_), 10 + who, 2, (1, 0, 0, who), clips, key)


def decrypted(rig: Rig, reader: int, upload: Update) -> tuple[Packing, np.ndarray]:
    """What hospital `reader` reads in another's upload that the coordinator has handed to it: the
    packed parts.
    """
    coding, group = Coding.of(rig.config, rig.layout), rig.sessions[reader].group
    assert group is not None
    how = Packing(coding.bits, coding.parties, rig.config.protection.kind == "masked+ckks")
    adder = Adder(how, coding.elements)
    adder.add(upload.buffers)
    return how, Encryptor(group.ckks, how).decrypt(adder.result())[: how.parts(coding.elements)]


# ---- who can read what ---------------------------------------------------------------


def test_under_ckks_a_hospital_that_colludes_with_the_coordinator_reads_a_peers_update() -> None:
    """The limit that the threat model states, and the reason for masked+ckks."""
    wire = Wire()
    rig = Rig(config("ckks"), fault=wire).play()
    how, parts = decrypted(rig, 1, wire.uploads(0)[0])
    coding = Coding.of(rig.config, rig.layout)
    assert np.array_equal(
        how.unpack(parts, coding.elements), coding.integers(contribution(rig, 0, 1))[0]
    )


def test_under_masked_ckks_a_hospital_that_colludes_reads_noise() -> None:
    """Twenty rounds of one unchanging update: every part is spread evenly over the whole range of a
    mask.
    """
    wire = Wire()
    still = np.full(start_model().layout.size, 0.125, np.float32)
    rig = Rig(
        config("masked+ckks", rounds=20, key_rounds=20),
        fault=wire,
        update=lambda who, round_: still,
    ).play()
    how = Packing(rig.config.protection.bits, 3, masked=True)
    parts = np.concatenate([decrypted(rig, 1, upload)[1] for upload in wire.uploads(0)])
    counts, _ = np.histogram(parts, bins=8, range=(-how.part_limit, how.part_limit))
    assert parts.size >= 300 and counts.sum() == parts.size
    # fewer in a bin happens once in 1e8 to what is uniform
    assert counts.min() > parts.size / 8 / 4
    assert len(set(parts.tolist())) == parts.size


def test_the_masks_of_vector_and_tag_come_from_streams_of_their_own(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from crypto import keystream

    keys: list[bytes] = []
    apply = keystream.apply

    def watched(vector: Any, streams: Any, ring: Any) -> None:
        streams = list(streams)
        keys.extend(key for key, sign in streams if sign == 1)
        apply(vector, streams, ring)

    monkeypatch.setattr(keystream, "apply", watched)
    Rig(config("masked+ckks", rounds=2)).play()
    # 3 self masks and 3 pairs, for the parts and for the tag, in 2 rounds; the coordinator takes
    # the self masks out with sign -1
    assert len(keys) == len(set(keys)) == 2 * 2 * (3 + 3)


@pytest.mark.parametrize("kind", KINDS)
def test_the_coordinator_sees_neither_sum_nor_model(kind: str) -> None:
    totals: list[Any] = []
    frames: list[bytes] = []
    digests: list[bytes] = []

    def watch(effect: Any, run: Any) -> None:
        if isinstance(effect, Applied):
            totals.append(effect.total)

    rig = Rig(
        config(kind, rounds=2),
        watch=watch,
        tap=lambda who, way, parts: frames.extend(bytes(part) for part in parts),
    )
    applied = SharedModel.apply
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            SharedModel,
            "apply",
            lambda model, *rest: (applied(model, *rest), digests.append(model.digest))[0],
        )
        rig.play()
    assert totals == [None, None]
    assert len(set(digests)) == 2 and len(digests) == 6
    secrets = {
        *digests,
        start_model().digest,
        *(rig.sessions[0].group.ckks[at : at + 64] for at in (16, 4096)),
    }
    assert not any(secret in frame for secret in secrets for frame in frames)


# ---- exactness and dropouts ----------------------------------------------------------


@pytest.mark.parametrize(("bits", "ring"), [(12, 16), (16, 24)])
def test_ten_rounds_end_in_the_same_bytes_as_plain(bits: int, ring: int) -> None:
    ends = {
        kind: Rig(config(kind, 5, rounds=10, bits=bits, ring=ring, key_rounds=4)).play()
        for kind in ("plain", "masked", "ckks", "masked+ckks")
    }
    digests = {
        kind: {session.shared.digest for session in rig.sessions.values()}
        for kind, rig in ends.items()
    }
    assert len(set.union(*digests.values())) == 1
    assert all(rig.run.completed == 10 and not rig.events(RoundDiscarded) for rig in ends.values())


@pytest.mark.parametrize(
    "phase", range(len(PHASES) + 1), ids=["nothing", *(kind.__name__ for kind in PHASES)]
)
def test_a_hospital_that_dies_in_any_phase_leaves_the_round_alive(phase: int) -> None:
    """It sends its messages up to the phase, and no more. After its masked update it counts;
    before, its masks are taken out.
    """

    def fault(
        who: int, direction: str, message: Message, now: float
    ) -> Iterable[tuple[float, Message]]:
        dead = who == 2 and direction == "up" and isinstance(message, PHASES[phase:])
        return () if dead else ((0.0, message),)

    wire = Wire()
    rig = Rig(config("masked+ckks", 5), fault=lambda *given: fault(*given) and wire(*given))
    rig.federation.play(until=500)
    survivors = [who for who in range(5) if who != 2 or phase > PHASES.index(Update)]
    coding, expected = Coding.of(rig.config, rig.layout), start_model(rig.config.protection.clip)
    total = sum(coding.integers(contribution(rig, who, 1))[0].astype(np.int64) for who in survivors)
    expected.apply(coding.decode(total, len(survivors)), coding, rig.config, 1)
    assert rig.run.completed == 1
    assert {session.shared.digest for who, session in rig.sessions.items() if who != 2} == {
        expected.digest
    }
    aggregate = next(message for _, message in wire.down if isinstance(message, Aggregate))
    assert list(aggregate.survivors) == survivors


def test_too_many_dropouts_reveal_nothing_and_the_next_round_succeeds() -> None:
    def change(who: int, shares: UnmaskShares) -> Message:
        return (
            Refusal(round=1, code=Reason.STOPPED) if shares.round == 1 and who in (0, 1) else shares
        )

    rig = Rig(config("masked+ckks", 5, rounds=2), fault=Wire(UnmaskShares, change))
    rig.federation.play(until=500)
    assert [event.code for event in rig.events(RoundFailed)] == ["threshold"]
    assert {tuple(stand.applied_rounds) for stand in rig.stands.values()} == {(2,)}


# ---- signed, bound, refused ----------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "what",
    [
        "another hospital's",
        "another round's",
        "unsigned",
        "no tag",
        "one ciphertext too few",
        "words",
    ],
)
def test_an_upload_counts_only_if_its_sender_signed_it_for_this_round(kind: str, what: str) -> None:
    seen: dict[tuple[int, int], Update] = {}

    def change(who: int, update: Update) -> Update:
        seen[who, update.round] = update
        if who != 4 or update.round != 2:
            return update
        match what:
            case "another hospital's":
                return seen[0, 2]
            case "another round's":
                return msgspec.structs.replace(seen[4, 1], round=2)
            case "unsigned":
                return msgspec.structs.replace(update, signature=bytes(64))
            case "no tag":
                return msgspec.structs.replace(update, tag=None)
            case "one ciphertext too few":
                return msgspec.structs.replace(update, buffers=update.buffers[1:])
        return msgspec.structs.replace(
            update, buffers=(update.buffers[0][:16] + b"\xff" * (len(update.buffers[0]) - 16),)
        )

    rig = Rig(config(kind, 5, rounds=3), fault=Wire(Update, change)).play()
    assert [(rig.who(event), event.phase) for event in rig.events(HospitalLost)] == [
        (4, "update" if kind == "ckks" else "masked_update")
    ]
    assert (
        rig.run.completed == 3
        and len({session.shared.digest for session in rig.sessions.values()}) == 1
    )


def _broken(rig: Rig) -> dict[str, Callable[[Aggregate], Aggregate]]:
    """Every way in which a sum can be no sum, after all that is public has been found in order."""

    def blobs(change: Callable[[bytearray], Any]) -> Callable[[Aggregate], Aggregate]:
        def apply(aggregate: Aggregate) -> Aggregate:
            first = bytearray(aggregate.buffers[0])
            changed = change(first)
            rest = tuple(bytes(buffer) for buffer in aggregate.buffers[1:])
            return msgspec.structs.replace(
                aggregate, buffers=(bytes(first if changed is None else changed), *rest)
            )

        return apply

    def word(blob: bytearray, at: int, value: int) -> None:
        blob[16 + 8 * at : 24 + 8 * at] = value.to_bytes(8, "little")

    def offset(blob: bytearray) -> None:
        """In NTT form the same number on every coefficient of c0 is a constant polynomial: it moves
        every real part by one step.
        """
        words = np.frombuffer(bytes(blob[16 : 16 + 8 * 4096]), "<u8")
        how = packing(rig.plan().coding, rig.config.protection.kind == "masked+ckks")
        blob[16 : 16 + 8 * 4096] = (
            (words + np.uint64(how.scale)) % np.uint64(2**60 - 2**14 + 1)
        ).tobytes()

    return {
        "one word of the ciphertext": blobs(lambda blob: word(blob, 7, 12345)),
        "every part moved by one": blobs(offset),
        "a word above the prime": blobs(lambda blob: word(blob, 0, 2**64 - 1)),
        "another header": blobs(lambda blob: blob.__setitem__(0, 0)),
        "a byte too many": blobs(lambda blob: blob + b"\0"),
        "no ciphertext": lambda aggregate: msgspec.structs.replace(aggregate, buffers=()),
        "a ciphertext twice": lambda aggregate: msgspec.structs.replace(
            aggregate, buffers=aggregate.buffers * 2
        ),
        "another tag": lambda aggregate: msgspec.structs.replace(aggregate, tag=bytes(8)),
        "no tag": lambda aggregate: msgspec.structs.replace(aggregate, tag=None),
    }


@pytest.mark.parametrize("kind", KINDS)
def test_whatever_is_wrong_with_a_sum_its_refusal_looks_the_same_and_costs_the_key(
    kind: str,
) -> None:
    """One run, a round for each way, all of it to hospital 3 only. It never holds the old key
    again; the others give it the model.
    """
    ways = list(_broken(Rig(config(kind))))
    keys: list[set[int]] = []

    def change(who: int, aggregate: Aggregate) -> Aggregate:
        if who != 3 or aggregate.round > len(ways):
            return aggregate
        keys.append({session.group.epoch for session in rig.sessions.values() if session.group})
        return _broken(rig)[ways[aggregate.round - 1]](aggregate)

    wire = Wire(Aggregate, change)
    rig = Rig(config(kind, 5, rounds=len(ways) + 1, key_rounds=50), fault=wire)
    rig.play()
    assert wire.refusals() == [(3, "aggregate")] * len(ways)
    assert len({note.text for who, note in rig.federation.notes if note.error}) == 1
    assert keys == [{round_} for round_ in range(1, len(ways) + 1)]
    assert rig.stands[3].counted == [False] * len(ways) + [True]
    assert (
        rig.run.completed == len(ways) + 1
        and len({session.shared.digest for session in rig.sessions.values()}) == 1
    )


@pytest.mark.parametrize("kind", KINDS)
def test_after_a_refusal_the_true_sum_comes_too_late_and_the_old_key_is_not_taken_again(
    kind: str,
) -> None:
    true: list[Aggregate] = []

    def change(who: int, aggregate: Aggregate) -> Aggregate:
        true.append(aggregate)
        return msgspec.structs.replace(aggregate, tag=bytes(8)) if who == 1 else aggregate

    rig = Rig(config(kind, 3), fault=Wire(Aggregate, change)).play()
    victim = rig.sessions[1]
    assert victim.group is None and victim.shared.round == 0
    old, code = (
        rig.sessions[0].group,
        lambda effects: [e.message.code for e in effects if isinstance(e, Send)],
    )
    assert old is not None and old.epoch == 1
    assert code(victim.receive(true[0])) == [Reason.CONTEXT]
    ask = Synchronise(epoch=1, source=0, applied=0, group_key=old.identifier)
    # neither this process nor the next one
    for session in (victim, rig.session(1, victim.durable, victim.shared)):
        assert code(session.receive(ask)) == [Reason.AGGREGATE]
        assert code(session.receive(msgspec.structs.replace(ask, source=1))) == [Reason.AGGREGATE]
        assert session.group is None
    made = victim.receive(Synchronise(epoch=2, source=1, applied=0, group_key=None))
    assert [effect.message.epoch for effect in made if isinstance(effect, Send)] == [2]
    assert victim.group is not None and victim.group.ckks != old.ckks


@pytest.mark.parametrize("kind", KINDS)
def test_what_anybody_can_see_to_be_wrong_costs_no_key(kind: str) -> None:
    def change(who: int, aggregate: Aggregate) -> Aggregate:
        return (
            msgspec.structs.replace(aggregate, signatures=(bytes(64),) * len(aggregate.signatures))
            if who == 1
            else aggregate
        )

    wire = Wire(Aggregate, change)
    rig = Rig(config(kind, 3), fault=wire).play()
    assert wire.refusals() == [(1, "signature")]
    assert rig.sessions[1].group is not None


@pytest.mark.parametrize("kind", ["masked", *KINDS])
def test_a_sum_that_all_refuse_is_no_round_and_the_run_goes_on(kind: str) -> None:
    def change(who: int, aggregate: Aggregate) -> Aggregate:
        return (
            msgspec.structs.replace(aggregate, tag=bytes(8)) if aggregate.round == 1 else aggregate
        )

    rig = Rig(config(kind, 3, rounds=3), fault=Wire(Aggregate, change))
    rig.federation.play(until=1000)
    assert rig.events(RoundDiscarded) == [RoundDiscarded(1)]
    assert {tuple(stand.applied_rounds) for stand in rig.stands.values()} == {(2, 3)}
    assert rig.run.completed == 2


def test_a_key_is_replaced_after_key_rounds_and_an_honest_round_costs_none() -> None:
    epochs: list[int] = []

    def change(who: int, update: Update) -> Update:
        epochs.append(rig.sessions[who].group.epoch)
        return update

    rig = Rig(config("masked+ckks", 3, rounds=5, key_rounds=2), fault=Wire(Update, change))
    rig.play()
    assert epochs == [1] * 6 + [3] * 6 + [5] * 3


def test_a_config_whose_sums_could_not_be_exact_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"protection\.bits.*noise"):
        config("masked+ckks", 4096, bits=20, ring=32)
    with pytest.raises(ConfigOverflow):
        Packing(20, 4096, masked=True)
    assert config("ckks", 4096, bits=20, ring=32).protection.bits == 20
