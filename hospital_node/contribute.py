"""A hospital's first message of a round, made from its local training."""

from __future__ import annotations

import numpy as np

from federation.coding import Contribution
from federation.errors import OutOfRange, Reason, RoundAborted
from federation.keys import private_randomness
from federation.messages import Message
from federation.plan import Plan
from federation.protections.base import LocalInputs, Protection, State
from hospital_node.synchronise import StateSync
from hospital_node.work import Confusion, Trained


def first_message(
    protection: Protection, plan: Plan, state: StateSync, trained: Trained, confusion: Confusion
) -> tuple[State, Message]:
    """Code the update and take the protection's first step with it.

    Args:
        protection: The run's.
        plan: Of the round that was trained for.
        state: The model that was trained from, and the group key.
        trained: Overwritten later, when the update is coded in place.
        confusion: Counts (C, C) of the last local test; zeros before the first one.

    Returns:
        The hospital's state in this round, and the message to the coordinator.

    Raises:
        RoundAborted: If the update cannot be coded.
        FederationError: If the protection refuses to begin.
    """
    update = trained.update
    if update.shape != (plan.coding.values,) or not np.isfinite(update).all():
        raise RoundAborted(
            "training gave NaN, infinity or another shape; lower training.lr", Reason.TRAINING
        )
    contribution = Contribution(
        update=update,
        examples=trained.examples,
        steps=trained.steps,
        confusion=tuple(int(n) for n in confusion.flat) if plan.coding.confusion else (),
        clips=state.shared.clips,
        rounding_key=private_randomness(
            state.keys.own_secret, "rounding", state.durable.run, plan.round
        ),
        memory=trained.memory,
    )
    inputs = LocalInputs(
        number=state.number,
        signing_key=state.keys.signing_key,
        contribution=contribution,
        model=state.digest,
        group=state.group,
        random=state.random,
    )
    try:
        plan.coding.check(contribution)
        return protection.begin(plan, inputs)
    except OutOfRange as error:
        raise RoundAborted(str(error), Reason.RANGE) from None
