"""Protections: what the coordinator is kept from. A new one is one module and one line here."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from federation.coding import Sum
from federation.groupkey import GroupKey
from federation.messages import Aggregate, Message
from federation.plan import Binding, Plan
from federation.protections.base import Gathering, LocalInputs, State, Steps
from federation.types import Digest, HospitalNumber


@dataclass(frozen=True)
class Protection:
    """Both roles of one protection. `hidden`: the coordinator never sees a sum, nor the model."""

    kind: str
    begin: Callable[[Plan, LocalInputs], tuple[State, Message]]
    steps: Steps
    bind: Callable[[Digest, GroupKey | None], Binding]
    open_aggregate: Callable[
        [Plan, Binding, GroupKey | None, Aggregate, tuple[HospitalNumber, ...] | None], Sum
    ]
    open_round: Callable[[Plan], Gathering]
    hidden: bool


def get(kind: str) -> Protection:
    """The protection of this name. Modules are loaded only when asked for: `masked` needs no CKKS
    library.
    """
    if kind == "plain":
        from federation.protections import plain

        return Protection(
            kind,
            plain.announce,
            plain.HOSPITAL,
            plain.bind,
            plain.open_aggregate,
            plain.open_round,
            False,
        )
    if kind == "masked":
        from federation.protections import masked, masked_coordinator

        return Protection(
            kind,
            masked.advertise_keys,
            masked.HOSPITAL,
            masked.bind,
            masked.open_aggregate,
            masked_coordinator.open_round,
            False,
        )
    if kind == "ckks":
        from federation.protections import ckks

        return Protection(
            kind,
            ckks.announce,
            ckks.HOSPITAL,
            ckks.bind,
            ckks.open_aggregate,
            ckks.open_round,
            True,
        )
    if kind == "masked+ckks":
        from federation.protections import masked_ckks

        return Protection(
            kind,
            masked_ckks.advertise_keys,
            masked_ckks.HOSPITAL,
            masked_ckks.bind,
            masked_ckks.open_aggregate,
            masked_ckks.open_round,
            True,
        )
    raise KeyError(kind)
