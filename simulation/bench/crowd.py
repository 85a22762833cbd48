"""`flop bench crowd`: one masked round of many hospitals on the sparse neighbour graph, step by
step in one process.

The dropouts leave after they have shared their keys, which is the most expensive moment for the
coordinator. Every step of every hospital is really taken; times are CPU time. Signatures are timed
apart: at a thousand hospitals they, not masks, are what costs.
"""

from __future__ import annotations

import secrets
import statistics
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from crypto import signing
from federation import config as agreed
from federation import protections
from federation.coding import Contribution
from federation.config import FederationConfig, Model, Rounds
from federation.groupkey import GroupKey
from federation.keys import PublicKeys, Role
from federation.layout import Layout
from federation.messages import Delivery, Grant, KeyList, Survivors, UnmaskRequest
from federation.plan import Plan
from federation.protections import base, graph
from federation.protections.base import LocalInputs, step
from federation.protections.gathering import Outcome
from federation.roster import Roster
from federation.types import Digest, HospitalNumber, RunId

BONAWITZ = {500: {"0 %": 2.0, "30 %": 143.0}, 1000: {"0 %": 4.9, "30 %": 414.0}}
"""Server seconds for 100,000 entries in Bonawitz et al. 2017, as the literature recalls them;
another machine, another year.
"""

Clock = defaultdict[str, float]


@contextmanager
def _signatures(clock: Clock) -> Iterator[None]:
    """Time signing and verifying, whichever party does it."""
    kept = {name: getattr(signing, name) for name in ("sign", "verify", "first_invalid")}

    def timed(name: str) -> Callable[..., Any]:
        def call(*arguments: Any) -> Any:
            began = time.process_time()
            try:
                return kept[name](*arguments)
            finally:
                clock["signatures"] += time.process_time() - began
                clock[name] += len(arguments[0]) if name == "first_invalid" else 1

        return call

    for name in kept:
        setattr(signing, name, timed(name))
    try:
        yield
    finally:
        for name, function in kept.items():
            setattr(signing, name, function)


class _Meter:
    """CPU seconds of one party, its signatures apart."""

    def __init__(self, clock: Clock) -> None:
        self.clock, self.masks, self.signatures = clock, 0.0, 0.0

    def __call__(self, function: Callable[..., Any], *arguments: Any) -> Any:
        began, signed = time.process_time(), self.clock["signatures"]
        result = function(*arguments)
        spent, of_signatures = time.process_time() - began, self.clock["signatures"] - signed
        self.masks += spent - of_signatures
        self.signatures += of_signatures
        return result


def run(
    hospitals: int = 1000,
    params: float = 1e5,
    dropouts: float = 0.3,
    corrupt: float = 0.1,
    ring: int = 32,
    neighbours: str = "sparse",
) -> dict[str, Any]:
    """Play one masked round and time it.

    Args:
        hospitals: Number of hospitals in the round.
        params: Number of shared parameters.
        dropouts: Share of the hospitals that leave after they have shared their keys.
        corrupt: Share of corrupt hospitals that the neighbour graph is made for.
        ring: Bits of a sum.
        neighbours: `sparse` or `complete` graph.

    Returns:
        Seconds of CPU time, a hospital's as medians over the survivors, and whether the sum is
        exact.
    """
    d, gone = int(params), int(dropouts * hospitals)
    keys = [signing.generate() for _ in range(hospitals)]
    bits = ring - (hospitals - 1).bit_length()
    protection = agreed.Protection(
        bits=min(bits, 16),
        ring=ring,  # type: ignore[arg-type]  # the command line's; another one fails in Coding
        graph=neighbours,  # type: ignore[arg-type]
        corrupt=corrupt,
        dropouts=dropouts,
    )
    plan = Plan(
        config=FederationConfig(
            federation=Rounds(cohort=hospitals),
            model=Model(classes=("a", "b"), start_digest="0" * 64),
            protection=protection,
        ),
        roster=_roster([pair.public for pair in keys]),
        layout=Layout(("weight",), ((d,),)),
        run=RunId(bytes(16)),
        round=1,
    )
    coding = plan.coding
    group = GroupKey(0, bytes(range(32)))
    update = np.random.default_rng(0).uniform(-0.2, 0.2, d).astype(np.float32)
    given = [
        Contribution(
            update, 1 + who, 1, (0,) * 4, np.full(1, 0.25, np.float32), who.to_bytes(32, "big")
        )
        for who in range(hospitals)
    ]
    masked = protections.get("masked")
    clock: Clock = defaultdict(float)
    with _signatures(clock):
        server, meters = _Meter(clock), [_Meter(clock) for _ in range(hospitals)]
        outcome = _round(plan, masked, keys, group, given, gone, server, meters)
    survivors = range(hospitals - gone)
    wanted = sum(coding.integers(given[who])[0].astype(np.int64) for who in survivors)
    total = coding.ring_type.signed(
        coding.ring_type.from_wire(outcome.aggregate.buffers[0], coding.elements)
    )
    size = graph.sparse_size(hospitals, corrupt, dropouts) if neighbours == "sparse" else None
    return {
        "hospitals": hospitals,
        "params": d,
        "dropouts": gone,
        "ring": ring,
        "graph": neighbours,
        "holders_of_a_share": (size or (hospitals - 1, 0))[0],
        "share_threshold": size[1] if size else plan.threshold,
        "exact": bool(np.array_equal(total.astype(np.int64), wanted)),
        "hospital_masks_and_shares_seconds": statistics.median(
            meters[who].masks for who in survivors
        ),
        "hospital_signatures_seconds": statistics.median(
            meters[who].signatures for who in survivors
        ),
        "server_masks_and_shares_seconds": server.masks,
        "server_signatures_seconds": server.signatures,
        "signatures_made": int(clock["sign"]),
        "signatures_verified": int(clock["verify"] + clock["first_invalid"]),
        "bonawitz_2017_server_seconds": BONAWITZ.get(hospitals),
    }


def _roster(verify_keys: list[bytes]) -> Roster:
    """A roster of hospitals with these Ed25519 keys, in this order; the other keys are made up."""

    def party(place: int, signing_key: bytes, role: Role = "hospital") -> PublicKeys:
        made_up = place.to_bytes(32, "big").hex()
        return PublicKeys(
            id=f"{role}-{place:05}",
            role=role,
            address="" if role == "hospital" else "127.0.0.1:1",
            transport=made_up,
            signing=signing_key.hex(),
            sealing=made_up,
        )

    hospitals = [party(place, key) for place, key in enumerate(verify_keys)]
    return Roster(party(len(hospitals), bytes(32), "coordinator"), hospitals)


def _round(
    plan: Plan,
    masked: base.Protection,
    keys: list[Any],
    group: GroupKey,
    given: list[Contribution],
    gone: int,
    server: _Meter,
    meters: list[_Meter],
) -> Outcome:
    everybody, alive = range(len(keys)), range(len(keys) - gone)
    state = masked.open_round(plan)
    states: dict[int, Any] = {}
    for who in everybody:
        own = LocalInputs(
            number=HospitalNumber(who),
            signing_key=keys[who].private,
            contribution=given[who],
            model=Digest(bytes(32)),
            group=group,
            random=secrets.token_bytes,
        )
        states[who], advert = meters[who](masked.begin, plan, own)
        server(state.accept, who, advert)

    def turn(kind: type, members: range) -> None:
        """Close the coordinator's phase; each member steps, and its answer is accepted."""
        nonlocal state
        state, messages = server(state.close)
        for who in members:
            message = messages.get(who)
            if not isinstance(message, kind):
                raise RuntimeError(f"expected {kind.__name__} for hospital {who}")
            states[who], answer = meters[who](step, masked.steps, states[who], message)
            if answer is not None:
                server(state.accept, who, answer)

    turn(KeyList, everybody)
    turn(Delivery, everybody)
    for who in alive:
        states[who], upload = meters[who](step, masked.steps, states[who], Grant(round=1))
        server(state.accept, who, upload)
    turn(Survivors, alive)
    turn(UnmaskRequest, alive)
    outcome, _ = server(state.close)
    if not isinstance(outcome, Outcome):
        raise RuntimeError("the round did not end")
    return outcome
