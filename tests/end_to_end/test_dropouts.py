"""Dropouts, exhaustively: for every set of hospitals that die, at every point of a round, either
the sum is exactly the survivors' or nothing is revealed and the next round starts.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import combinations, product
from typing import Any

import numpy as np
import pytest

from crypto.kdf import derive
from federation.coding import Coding, Contribution, Sum
from federation.effects import Applied
from federation.messages import (
    AdvertiseKeys,
    Aggregate,
    Consistency,
    Message,
    Ready,
    ShareKeys,
    UnmaskShares,
    Update,
)
from federation.records.events import Logged, RoundFailed
from tests.rig import RUN, Deaths, Rig, config, default_update, start_model

MASKED = (AdvertiseKeys, ShareKeys, Update, Consistency, UnmaskShares)
ORDER: dict[str, tuple[type[Message], ...]] = {
    "masked": MASKED,
    "masked+ckks": MASKED,
    "ckks": (Ready, Update, Consistency),
    "plain": (Ready, Update),
}
Case = Mapping[int, int]
"""hospital → how many of its messages it sends before it dies; all of them: it dies before the
aggregate reaches it.
"""


def cases(hospitals: int, dead: int, points: int) -> Iterator[Case]:
    """Every set of `dead` hospitals, and for each of them every point of the round."""
    for who in combinations(range(hospitals), dead):
        for when in product(range(points), repeat=dead):
            yield dict(zip(who, when, strict=True))


def together(hospitals: int, points: int) -> Iterator[Case]:
    """Every set of hospitals, dead at one point."""
    for dead in range(1, hospitals + 1):
        for who in combinations(range(hospitals), dead):
            for when in range(points):
                yield dict.fromkeys(who, when)


def plain_sum(rig: Rig, round_: int, survivors: list[int], clips: np.ndarray) -> Sum:
    """What the survivors' quantised updates and counts add up to, computed in the clear."""
    coding = Coding.of(rig.config, rig.layout)
    total = np.zeros(coding.elements, np.int64)
    for who in survivors:
        key = derive(rig.secrets[who].own_secret, "rounding", RUN, round_)
        given = Contribution(default_update(who, round_), 10 + who, 2, (1, 0, 0, who), clips, key)
        total += coding.integers(given)[0]
    return coding.decode(total, len(survivors))


def same(one: Sum, other: Sum) -> bool:
    counts = [(s.survivors, s.examples, s.steps, s.confusion, s.clipped) for s in (one, other)]
    return counts[0] == counts[1] and np.array_equal(one.values, other.values)


class Played:
    """All cases as the rounds of one run, each perhaps followed by a round without a death; such a
    round ends the run.
    """

    def __init__(
        self, kind: str, hospitals: int, threshold: int, every: list[Case], honest_between: bool
    ) -> None:
        step = 2 if honest_between else 1
        self.cases = {1 + step * at: case for at, case in enumerate(every)}
        self.kind, self.threshold, self.order = kind, threshold, ORDER[kind]
        self.totals: dict[int, Any] = {}
        self.aborted: dict[int, str] = {}
        self.deaths = Deaths(self.order, self.cases)
        settings = config(
            kind,
            hospitals,
            rounds=step * len(every) + 1,
            threshold=threshold,
            min_cohort=min(hospitals, threshold),
            key_rounds=50,
        )
        self.rig = self.deaths.rig = Rig(settings, fault=self.deaths, watch=self._watch)
        self.rig.play()

    def _watch(self, effect: Logged | Applied, run: Any) -> None:
        if isinstance(effect, Applied):
            self.totals[effect.round] = effect.total
        elif isinstance(effect, RoundFailed):
            self.aborted[effect.round] = effect.code
        else:
            return
        self.deaths.raise_all()

    def sent(self, round_: int, kind: type[Message]) -> dict[int, Any]:
        return {
            who: message
            for who, message in self.deaths.sent
            if isinstance(message, kind) and message.round == round_
        }

    def succeeds(self, case: Case) -> bool:
        """Whether at least `threshold` hospitals send their last message."""
        last = [
            who
            for who in range(len(self.rig.sessions))
            if case.get(who, len(self.order)) >= len(self.order)
        ]
        return len(last) >= self.threshold

    def check(self) -> None:
        model, coding = (
            start_model(self.rig.config.protection.clip),
            Coding.of(self.rig.config, self.rig.layout),
        )
        kept: dict[int, list[int]] = {who: [] for who in self.rig.sessions}
        upload = self.order.index(Update)
        for round_ in range(1, self.rig.config.federation.rounds + 1):
            case = self.cases.get(round_, {})
            if not self.succeeds(case):
                self._check_nothing_revealed(round_, case)
                continue
            assert round_ in self.totals, (
                f"round {round_} with {case} was aborted: {self.aborted.get(round_)}"
            )
            survivors = [who for who in self.rig.sessions if case.get(who, upload + 1) > upload]
            expected = plain_sum(self.rig, round_, survivors, model.clips)
            # there only the hospitals see it; their model is compared below
            if "ckks" not in self.kind:
                assert same(self.totals[round_], expected), f"round {round_} with {case}"
            for who in survivors:
                if who not in case:
                    kept[who].append(round_)
            # else nobody was left to hear of it, and the run goes on without this round
            if len(case) < len(self.rig.sessions):
                model.apply(expected, coding, self.rig.config, round_)
        assert self.rig.federation.finished is not None
        assert {session.shared.digest for session in self.rig.sessions.values()} == {model.digest}
        assert {who: stand.private for who, stand in self.rig.stands.items()} == kept

    def _check_nothing_revealed(self, round_: int, case: Case) -> None:
        assert self.aborted.get(round_) == "threshold", f"round {round_} with {case}"
        assert round_ not in self.totals
        assert round_ + 1 in self.totals, (
            f"the round after {case} did not succeed: {self.aborted.get(round_ + 1)}"
        )
        revealed = self.sent(round_, UnmaskShares)
        assert len(revealed) < self.threshold
        for shares in revealed.values():  # of one hospital never both secrets
            assert not {share.owner for share in shares.self_shares} & {
                share.owner for share in shares.key_shares
            }
        if len(self.sent(round_, Consistency)) < self.threshold:
            assert not revealed


@pytest.mark.parametrize(
    ("hospitals", "threshold"), [(1, 1), (2, 2), (3, 2), (3, 3), (4, 3), (5, 4)]
)
def test_masked_sum_is_exact_for_every_single_dropout_at_every_point(
    hospitals: int, threshold: int
) -> None:
    played = Played(
        "masked",
        hospitals,
        threshold,
        [{}, *cases(hospitals, 1, len(MASKED) + 1)],
        honest_between=hospitals == threshold,
    )
    played.check()


def test_masked_sum_is_exact_for_every_pair_of_dropouts_at_every_two_points() -> None:
    played = Played("masked", 5, 3, list(cases(5, 2, len(MASKED) + 1)), honest_between=False)
    played.check()
    assert len(played.totals) == 361


@pytest.mark.parametrize(("hospitals", "threshold"), [(2, 2), (3, 3), (4, 3), (5, 4)])
def test_below_the_threshold_nothing_is_revealed_and_the_next_round_succeeds(
    hospitals: int, threshold: int
) -> None:
    played = Played(
        "masked", hospitals, threshold, list(together(hospitals, len(MASKED))), honest_between=True
    )
    played.check()
    assert played.aborted


@pytest.mark.parametrize("hospitals", [3, 4, 5])
def test_masked_ckks_sum_is_exact_for_every_single_dropout_at_every_point(hospitals: int) -> None:
    played = Played(
        "masked+ckks",
        hospitals,
        hospitals - 1,
        [{}, *cases(hospitals, 1, len(MASKED) + 1)],
        honest_between=False,
    )
    played.check()
    assert not played.aborted


def test_masked_ckks_below_the_threshold_reveals_nothing_and_goes_on() -> None:
    played = Played("masked+ckks", 3, 3, list(together(3, len(MASKED))), honest_between=True)
    played.check()
    assert played.aborted


def test_below_the_threshold_with_two_dropouts_at_different_points() -> None:
    every = [case for case in cases(4, 2, len(MASKED)) if len(set(case.values())) == 2]
    played = Played("masked", 4, 3, every, honest_between=True)
    played.check()
    assert len(played.aborted) == len(every)


@pytest.mark.parametrize("kind", ["ckks", "plain"])
def test_other_protections_sum_the_survivors_for_every_pair_of_dropouts(kind: str) -> None:
    played = Played(kind, 5, 3, list(cases(5, 2, len(ORDER[kind]) + 1)), honest_between=False)
    played.check()
    assert not played.aborted


@pytest.mark.parametrize("kind", ["ckks", "plain"])
def test_other_protections_abort_below_the_threshold_and_go_on(kind: str) -> None:
    played = Played(kind, 4, 3, list(together(4, len(ORDER[kind]))), honest_between=True)
    played.check()
    assert played.aborted


def test_no_aggregate_leaves_before_the_last_phase() -> None:
    """The tap sees every frame that goes down: none of an aborted round is an aggregate."""
    seen: list[tuple[int, Message]] = []
    case: Case = {0: 4, 1: 4}
    deaths = Deaths(MASKED, {1: case})

    def fault(who: int, direction: str, message: Message, now: float) -> Any:
        arriving = list(deaths(who, direction, message, now))
        seen.extend(
            (who, message)
            for _, message in arriving
            if direction == "down" and isinstance(message, Aggregate)
        )
        return arriving

    rig = deaths.rig = Rig(config("masked", 5, rounds=1), fault=fault)
    rig.play()
    assert not seen
    assert [event.code for event in rig.events(RoundFailed)] == ["threshold"]
    assert all(
        stand.discarded == 1 and not stand.private
        for who, stand in rig.stands.items()
        if who not in case
    )
