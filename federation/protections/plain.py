"""No protection: the coordinator reads every update. The reference that the others are compared
with, quantised like them.

    hospital      announce → upload
    coordinator   Announcements → Uploads

`bits = 0` sends float32; sums are then taken in the order of the hospitals' numbers, so that the
same seed gives the same bytes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crypto import signing
from crypto.errors import CryptoError
from federation.coding import Sum
from federation.errors import (
    FaultyCoordinator,
    FaultyHospital,
    LocalProtocolError,
    Reason,
    RoundAborted,
)
from federation.groupkey import GroupKey
from federation.messages import Aggregate, Grant, Message, Ready, Update
from federation.plan import Binding, Plan
from federation.protections.base import (
    Gathering,
    LocalInputs,
    Outcome,
    State,
    check_survivors,
    most_common_binding,
    signed_sum,
    vector_buffer,
)
from federation.types import Digest, HospitalNumber


def bind(model_digest: Digest, group: GroupKey | None) -> Binding:
    return Binding(model_digest, None)


# ---- hospital ------------------------------------------------------------------------


@dataclass
class Announced(State):
    """Trained, and said so."""


@dataclass
class Uploaded(State):
    clipped: int


def announce(plan: Plan, own: LocalInputs) -> tuple[Announced, Ready]:
    """Sign where this hospital stands."""
    return Announced(plan, own, bind(own.model_digest, own.group)), ready(
        plan, own, bind(own.model_digest, own.group)
    )


def ready(plan: Plan, own: LocalInputs, binding: Binding) -> Ready:
    signature = signing.sign(own.signing_key, "ready", plan.context(binding))
    return Ready(
        round=plan.round, model=binding.model, group_key=binding.group_key, signature=signature
    )


def upload(state: Announced, received: Grant) -> tuple[Uploaded, Update]:
    """The coded vector as it is."""
    protected = state.plan.coding.protect(state.own.contribution)
    message = Update(round=state.plan.round, tag=None, signature=None, buffers=(protected.wire,))
    return Uploaded(state.plan, state.own, state.binding, protected.clipped), message


HOSPITAL = {(Announced, Grant): upload}


def open_aggregate(
    plan: Plan,
    binding: Binding,
    group: GroupKey | None,
    received: Aggregate,
    signed: tuple[HospitalNumber, ...] | None,
) -> Sum:
    """The sum, if it can be one. Under `plain` nothing proves that it is. Raises FaultyCoordinator."""
    check_survivors(plan, plan.cohort, received.survivors, None)
    return _sum(plan, received)


def _sum(plan: Plan, received: Aggregate) -> Sum:
    if plan.coding.bits:
        values = signed_sum(plan.coding, received)
    elif len(received.buffers) == 1 and len(received.buffers[0]) == plan.coding.wire_bytes:
        values = np.frombuffer(received.buffers[0], "<f4")
    else:
        raise FaultyCoordinator(
            "sent an aggregate of another length than the agreed one", Reason.MALFORMED
        )
    try:
        return plan.coding.decode(values, len(received.survivors))
    except CryptoError as error:
        raise FaultyCoordinator(
            f"sent an aggregate that cannot be a sum: {error}", Reason.RANGE
        ) from None


# ---- coordinator ---------------------------------------------------------------------


@dataclass(kw_only=True)
class Announcements(Gathering):
    """Waits until all have trained. `proceed` makes the state that takes the uploads, from the
    binding that most stand at.
    """

    phase = "ready"
    expects = Ready
    proceed: Callable[[Announcements, Binding], Gathering]

    def accept(self, who: HospitalNumber, message: Ready) -> None:
        binding = Binding(message.model, message.group_key)
        if not self.plan.verify(who, message.signature, "ready", self.plan.context(binding)):
            raise FaultyHospital(
                who, "did not sign where it stands in this round", Reason.SIGNATURE
            )
        self.received[who] = binding

    def close(self) -> tuple[Gathering, dict[HospitalNumber, Message]]:
        self.require(len(self.received), self.phase)
        binding, strangers = most_common_binding(self.received)
        for who in strangers:
            del self.received[who]
            self.faults.append(
                FaultyHospital(
                    who, "stands at another model or group key than most", Reason.CONTEXT
                )
            )
        self.require(len(self.received), self.phase)
        return self.proceed(self, binding), {}


@dataclass(kw_only=True)
class Uploads(Gathering):
    phase = "update"
    expects = Update
    granted = True
    total: NDArray[Any] | None = None

    def accept(self, who: HospitalNumber, message: Update) -> None:
        buffer, coding = vector_buffer(self.plan.coding, who, message), self.plan.coding
        if self.total is None:
            self.total = np.zeros(coding.elements, coding.ring_type.dtype if coding.bits else "<f4")
        if coding.bits:
            coding.ring_type.add_into(self.total, buffer)
        else:
            self.total += np.frombuffer(buffer, "<f4")
        self.received[who] = None

    def close(self) -> tuple[Outcome, dict[HospitalNumber, Message]]:
        survivors, coding = self.present, self.plan.coding
        self.require(len(survivors), self.phase)
        if self.total is None:
            raise LocalProtocolError("a sum without an upload")
        wire = (
            coding.ring_type.to_wire(self.total) if coding.bits else self.total.view(np.uint8).data
        )
        aggregate = Aggregate(
            round=self.plan.round,
            survivors=survivors,
            transcript=None,
            signers=(),
            signatures=(),
            tag=None,
            buffers=(wire,),
        )
        try:
            return Outcome(aggregate, _sum(self.plan, aggregate)), {}
        # the same check as a hospital's; here the hospitals' uploads are to blame
        except FaultyCoordinator as error:
            raise RoundAborted(f"update: {error}", Reason.RANGE) from None


def open_round(plan: Plan) -> Announcements:
    """The state in which a plain round begins."""

    def proceed(state: Announcements, binding: Binding) -> Gathering:
        return Uploads(plan=plan, awaited=state.present, faults=state.faults)

    return Announcements(plan=plan, awaited=plan.cohort, proceed=proceed)
