"""What a protection is, and a hospital's side of it: states used once, and a table of steps.

A hospital's step is `step(state, received) -> (state, message)`. Each protection's table maps
(state type, message type) to its step, so that there is none for a message out of order. The
coordinator's side is in gathering.py.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from federation.coding import Coding, Contribution, Sum
from federation.config import FederationConfig
from federation.errors import FaultyCoordinator, LocalProtocolError, Reason
from federation.groupkey import GroupKey
from federation.messages import Aggregate, Message
from federation.plan import Binding, Plan
from federation.protections.gathering import AnyGathering
from federation.protections.sees import Sees
from federation.types import Digest, HospitalNumber, Random, SigningKey


@dataclass(frozen=True)
class LocalInputs:
    """What a hospital brings to a round. `model`: digest of its shared model before the round."""

    number: HospitalNumber
    signing_key: SigningKey
    contribution: Contribution
    model: Digest
    group: GroupKey | None
    random: Random

    def __repr__(self) -> str:
        return f"LocalInputs(number={self.number}, …)"


@dataclass
class State:
    """A hospital's state between two steps. A second use is our own bug: it would repeat a mask."""

    plan: Plan
    own: LocalInputs
    binding: Binding
    spent: bool = field(default=False, init=False)

    def use(self) -> None:
        """Mark this state as used. Raises LocalProtocolError the second time."""
        if self.spent:
            raise LocalProtocolError(f"the state {type(self).__name__} is used a second time")
        self.spent = True

    @property
    def context(self) -> Digest:
        return self.plan.context(self.binding)


Step = Callable[[Any, Any], tuple[State, Message | None]]
"""Takes the state and the message of its key in `Steps`, which Python's types cannot say."""

Steps = Mapping[tuple[type[State], type[Message]], Step]


def step(steps: Steps, state: State, received: Message) -> tuple[State, Message | None]:
    """Take the step that this message allows in this state.

    Returns:
        The next state, and the message to be sent, if any.

    Raises:
        FaultyCoordinator: If there is no such step, or the message is not what it must be.
        RoundAborted: If too few hospitals are left.
    """
    taken = steps.get((type(state), type(received)))
    if taken is None:
        raise FaultyCoordinator(
            f"sent {type(received).__name__} to a hospital that is {type(state).__name__}",
            Reason.UNEXPECTED,
        )
    state.use()
    return taken(state, received)


class Sizes(NamedTuple):
    """Bytes of a protected vector's buffers: of one hospital's upload, and of the aggregate."""

    upload: int
    download: int


def in_clear(coding: Coding) -> Sizes:
    """The sizes of a coded vector that travels as it is, or under masks."""
    return Sizes(coding.wire_bytes, coding.wire_bytes)


def no_key(config: FederationConfig) -> bytes:
    """For protections whose group key is the tag's secret only."""
    return b""


@dataclass(frozen=True, kw_only=True)
class Protection:
    """Everything that the rest of the code asks a protection.

    Attributes:
        name: As in `federation.toml`; its key in the registry.
        sees: What the coordinator sees under it.
        allowed_by_default: Whether hospitals take part without naming it in their policy.
        validate: (config, source) → raises ConfigError if they do not go together; `source` names
            the file.
        sizes: The lengths of its buffers.
        make_key: Its part of a fresh group key, empty if it has none.
        bind: (model's digest, group key) → what a hospital signs for them. Raises FaultyCoordinator
            if a group key is needed and there is none.
        begin: A hospital's first step.
        steps: A hospital's other steps.
        open_aggregate: (plan, binding, group key, aggregate, survivors that this hospital signed)
            → the sum. Raises FaultyCoordinator.
        open_round: The coordinator's first state.
    """

    name: str
    sees: Sees
    allowed_by_default: bool
    validate: Callable[[FederationConfig, str], None]
    sizes: Callable[[Coding], Sizes]
    make_key: Callable[[FederationConfig], bytes]
    bind: Callable[[Digest, GroupKey | None], Binding]
    begin: Callable[[Plan, LocalInputs], tuple[State, Message]]
    steps: Steps
    open_aggregate: Callable[
        [Plan, Binding, GroupKey | None, Aggregate, tuple[HospitalNumber, ...] | None], Sum
    ]
    open_round: Callable[[Plan], AnyGathering]

    @property
    def hidden(self) -> bool:
        """True if the coordinator sees neither a sum nor the model after the start."""
        return not self.sees.total
