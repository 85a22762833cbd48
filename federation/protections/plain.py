"""No protection: the coordinator reads every update. The others are compared with it, and it
quantises like them.

    hospital      announce → upload
    coordinator   Announcements → Uploads

With `bits = 0` updates travel as float32. Sums are then taken in the order of the hospitals'
numbers, so that the same seed gives the same bytes.
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
from federation.config import FederationConfig
from federation.errors import (
    FaultyCoordinator,
    FaultyHospital,
    LocalProtocolError,
    Reason,
    RoundAborted,
)
from federation.groupkey import GroupKey
from federation.messages import Aggregate, Grant, Ready, Update
from federation.plan import Binding, Plan
from federation.protections.base import LocalInputs, Protection, State, Steps, in_clear, no_key
from federation.protections.checks import aggregate_vector, check_survivors, vector_buffer
from federation.protections.gathering import AnyGathering, Gathering, Next, Outcome
from federation.protections.sees import Reads, Sees
from federation.types import Digest, HospitalNumber


def validate(config: FederationConfig, source: str) -> None:
    """Every config is good for plain."""


def bind(model_digest: Digest, group: GroupKey | None) -> Binding:
    """The coordinator may know the model, and no group key is needed."""
    return Binding(model_digest, None)


# ---- hospital ------------------------------------------------------------------------


@dataclass
class Announced(State):
    """Training is done and `Ready` was sent; expects `Grant`."""


@dataclass
class Uploaded(State):
    """The update was sent; waits for the aggregate."""

    clipped: int


def announce(plan: Plan, own: LocalInputs) -> tuple[Announced, Ready]:
    """Sign the model that this hospital starts the round from."""
    binding = bind(own.model, own.group)
    return Announced(plan, own, binding), ready(plan, own, binding)


def ready(plan: Plan, own: LocalInputs, binding: Binding) -> Ready:
    """The signed message that opens a round without masks."""
    signature = signing.sign(own.signing_key, "ready", plan.context(binding))
    return Ready(
        round=plan.round, model=binding.model, group_key=binding.group_key, signature=signature
    )


def upload(state: Announced, received: Grant) -> tuple[Uploaded, Update]:
    """Send the coded vector as it is."""
    protected = state.plan.coding.protect(state.own.contribution)
    message = Update(round=state.plan.round, tag=None, signature=None, buffers=(protected.wire,))
    return Uploaded(state.plan, state.own, state.binding, protected.clipped), message


HOSPITAL: Steps = {(Announced, Grant): upload}


def open_aggregate(
    plan: Plan,
    binding: Binding,
    group: GroupKey | None,
    received: Aggregate,
    signed: tuple[HospitalNumber, ...] | None,
) -> Sum:
    """Return the sum, if it can be one; nothing proves that it is. Raises FaultyCoordinator."""
    check_survivors(plan, plan.cohort, received.survivors, None)
    return _sum(plan, received)


def _sum(plan: Plan, received: Aggregate) -> Sum:
    values = aggregate_vector(plan.coding, received)
    try:
        return plan.coding.decode(values, len(received.survivors))
    except CryptoError as error:
        raise FaultyCoordinator(
            f"sent an aggregate that cannot be a sum: {error}", Reason.RANGE
        ) from None


# ---- coordinator ---------------------------------------------------------------------


@dataclass(kw_only=True)
class Announcements(Gathering[Ready, Binding]):
    """Waits until all have trained. `proceed` makes the state that takes the uploads, from the
    binding that most hospitals have.
    """

    phase = "ready"
    expects = Ready
    proceed: Callable[[Announcements, Binding], AnyGathering]

    def accept(self, who: HospitalNumber, message: Ready) -> None:
        binding = Binding(message.model, message.group_key)
        if not self.plan.verify(who, message.signature, "ready", self.plan.context(binding)):
            raise FaultyHospital(
                who, "did not sign its model and group key for this round", Reason.SIGNATURE
            )
        self.received[who] = binding

    def close(self) -> Next:
        return self.proceed(self, self.majority(self.received)), {}


@dataclass(kw_only=True)
class Uploads(Gathering[Update, None]):
    """Adds each upload to the sum and forgets it."""

    phase = "update"
    expects = Update
    granted = True
    total: NDArray[Any] | None = None

    def accept(self, who: HospitalNumber, message: Update) -> None:
        coding = self.plan.coding
        buffer = vector_buffer(coding, who, message)
        if self.total is None:
            self.total = np.zeros(coding.elements, coding.ring_type.dtype if coding.bits else "<f4")
        if coding.bits:
            coding.ring_type.add_into(self.total, buffer)
        else:
            self.total += np.frombuffer(buffer, "<f4")
        self.received[who] = None

    def close(self) -> Next:
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
        # The same check as a hospital's; here the uploads are to blame.
        except FaultyCoordinator as error:
            raise RoundAborted(f"update: {error}", Reason.RANGE) from None


def open_round(plan: Plan) -> Announcements:
    """Return the state in which a plain round begins."""

    def proceed(state: Announcements, binding: Binding) -> Uploads:
        return Uploads(plan=plan, awaited=state.present, faults=state.faults)

    return Announcements(plan=plan, awaited=plan.cohort, proceed=proceed)


PROTECTION = Protection(
    name="plain",
    sees=Sees(
        reads=Reads.EACH,
        update="as it was sent",
        counts="beside the update",
        sentence=(
            "It could read every hospital's update of the shared layers. The federation was not"
            " protected against its coordinator: images can be reconstructed from updates."
        ),
    ),
    allowed_by_default=False,
    validate=validate,
    sizes=in_clear,
    make_key=no_key,
    bind=bind,
    begin=announce,
    steps=HOSPITAL,
    open_aggregate=open_aggregate,
    open_round=open_round,
)
