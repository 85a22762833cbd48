"""What every protection is made of: states that are used once, a hospital's table of steps, a
coordinator that gathers.

A hospital's step is `step(state, received) -> (state, message)`; `HOSPITAL` of each protection maps
(state type, message type) to its step, so that a message out of order finds none. The coordinator's
states are `Gathering`s: they take one message from each awaited hospital and then close into the
next state.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from numpy.typing import NDArray

from crypto import signing
from crypto.errors import CryptoError
from federation.coding import Coding, Contribution, Sum
from federation.errors import (
    FaultyCoordinator,
    FaultyHospital,
    LocalProtocolError,
    Reason,
    RoundAborted,
)
from federation.groupkey import GroupKey
from federation.messages import Aggregate, Consistency, Message, Survivors, Update
from federation.plan import Binding, Plan
from federation.types import Digest, HospitalNumber, SigningKey

# ---- a hospital ----------------------------------------------------------------------


@dataclass(frozen=True)
class LocalInputs:
    """What a hospital brings to a round: its number, its signing key, its contribution, its model's
    digest, the group's key.
    """

    number: HospitalNumber
    signing_key: SigningKey
    contribution: Contribution
    model_digest: Digest
    group: GroupKey | None

    def __repr__(self) -> str:
        return f"LocalInputs(number={self.number}, …)"


@dataclass
class State:
    """A hospital's state between two steps. Used once: a second use is a bug of ours, and would
    repeat a mask.
    """

    plan: Plan
    own: LocalInputs
    binding: Binding
    spent: bool = field(default=False, init=False)

    def use(self) -> None:
        if self.spent:
            raise LocalProtocolError(f"the state {type(self).__name__} is used a second time")
        self.spent = True

    @property
    def context(self) -> Digest:
        return self.plan.context(self.binding)


Steps = Mapping[Any, Any]


def step(steps: Steps, state: State, received: Message) -> tuple[State, Message | None]:
    """Take the one step that this message allows in this state. Raises FaultyCoordinator where
    there is none.
    """
    taken = steps.get((type(state), type(received)))
    if taken is None:
        raise FaultyCoordinator(
            f"sent {type(received).__name__} to a hospital that is {type(state).__name__}",
            Reason.UNEXPECTED,
        )
    state.use()
    following: tuple[State, Message | None] = taken(state, received)
    return following


def check_survivors(
    plan: Plan,
    members: tuple[HospitalNumber, ...],
    survivors: tuple[HospitalNumber, ...],
    me: HospitalNumber | None,
) -> None:
    """Survivors are an ascending part of the members, at least `threshold` and the hospital's own
    minimum, and hold `me`.
    """
    if list(survivors) != sorted(set(survivors)) or not set(survivors) <= set(members):
        raise FaultyCoordinator("named survivors that are no part of the members", Reason.COHORT)
    if len(survivors) < max(plan.threshold, plan.min_cohort):
        raise FaultyCoordinator(
            f"named {len(survivors)} survivors, fewer than are needed", Reason.THRESHOLD
        )
    if me is not None and me not in survivors:
        raise FaultyCoordinator(
            "left this hospital's update out of the survivors", Reason.UNEXPECTED
        )


def survivors_parts(
    context: Digest, transcript: Digest, survivors: tuple[HospitalNumber, ...]
) -> tuple[bytes | int, ...]:
    """What a survivor signs."""
    return (context, transcript, len(survivors), *survivors)


def check_signatures(
    plan: Plan,
    context: Digest,
    transcript: Digest,
    survivors: tuple[HospitalNumber, ...],
    signers: tuple[HospitalNumber, ...],
    signatures: tuple[bytes, ...],
) -> None:
    """At least `threshold` of the survivors signed exactly this set. Raises FaultyCoordinator."""
    if (
        len(signers) != len(signatures)
        or len(set(signers)) != len(signers)
        or not set(signers) <= set(survivors)
    ):
        raise FaultyCoordinator("relayed signatures of others than the survivors", Reason.SIGNATURE)
    if len(signers) < plan.threshold:
        raise FaultyCoordinator(
            f"relayed {len(signers)} signatures, {plan.threshold} are needed", Reason.THRESHOLD
        )
    parts = survivors_parts(context, transcript, survivors)
    signed = [
        (plan.roster.verify_keys[who], signature)
        for who, signature in zip(signers, signatures, strict=True)
    ]
    place = signing.first_invalid(signed, "survivors", *parts)
    if place is not None:
        raise FaultyCoordinator(
            f"relayed a signature that hospital {signers[place]} did not give", Reason.SIGNATURE
        )


def sign_survivors(
    state: State, transcript: Digest, survivors: tuple[HospitalNumber, ...]
) -> Consistency:
    signature = signing.sign(
        state.own.signing_key, "survivors", *survivors_parts(state.context, transcript, survivors)
    )
    return Consistency(round=state.plan.round, signature=signature)


# ---- the coordinator -----------------------------------------------------------------


@dataclass(kw_only=True)
class Gathering:
    """The coordinator waits for one `expects` of each `awaited`. Subclasses check what comes and
    close into the next state.
    """

    phase: ClassVar[str] = ""
    expects: ClassVar[type[Message]] = Message
    granted: ClassVar[bool] = False
    """Whether hospitals send only when granted, in the order of `awaited`."""

    plan: Plan
    awaited: tuple[HospitalNumber, ...]
    received: dict[HospitalNumber, Any] = field(default_factory=dict)
    faults: list[FaultyHospital] = field(default_factory=list)
    """Who broke the protocol without ending the round."""

    def accept(self, who: HospitalNumber, message: Any) -> None:
        """Check and keep one message of an awaited hospital. Raises FaultyHospital."""
        raise NotImplementedError

    def close(self) -> tuple[Gathering | Outcome, dict[HospitalNumber, Message]]:
        """All that will come has come: the next state, and what to send to whom. Raises
        RoundAborted.
        """
        raise NotImplementedError

    @property
    def present(self) -> tuple[HospitalNumber, ...]:
        return tuple(sorted(self.received))

    @property
    def minimum(self) -> int:
        """With fewer than this the round aborts."""
        return max(self.plan.threshold, self.plan.min_cohort)

    def require(self, count: int, phase: str) -> None:
        if count < self.minimum:
            raise RoundAborted(
                f"{phase}: {count} hospitals are left, {self.minimum} are needed", Reason.THRESHOLD
            )


@dataclass(frozen=True)
class Outcome:
    """A finished round: what goes to every hospital, and the sum where the coordinator may see it."""

    aggregate: Aggregate
    total: Sum | None


@dataclass(kw_only=True)
class Signatures(Gathering):
    """Every survivor signs the survivor set; `proceed` goes on with at least `threshold`
    signatures.
    """

    phase = "consistency"
    expects = Consistency

    context: Digest
    transcript: Digest
    survivors: tuple[HospitalNumber, ...]
    proceed: Callable[[Signatures], tuple[Gathering | Outcome, dict[HospitalNumber, Message]]]

    @classmethod
    def ask(
        cls,
        before: Gathering,
        context: Digest,
        transcript: Digest,
        proceed: Callable[[Signatures], tuple[Gathering | Outcome, dict[HospitalNumber, Message]]],
    ) -> tuple[Gathering, dict[HospitalNumber, Message]]:
        """From uploads to signatures: whoever uploaded is a survivor."""
        survivors = before.present
        before.require(len(survivors), before.phase)
        request = Survivors(round=before.plan.round, survivors=survivors, transcript=transcript)
        state = cls(
            plan=before.plan,
            awaited=survivors,
            faults=before.faults,
            context=context,
            transcript=transcript,
            survivors=survivors,
            proceed=proceed,
        )
        return state, {who: request for who in survivors}

    def accept(self, who: HospitalNumber, message: Consistency) -> None:
        if not self.plan.verify(
            who,
            message.signature,
            "survivors",
            *survivors_parts(self.context, self.transcript, self.survivors),
        ):
            raise FaultyHospital(who, "did not sign the survivors", Reason.SIGNATURE)
        self.received[who] = message.signature

    def close(self) -> tuple[Gathering | Outcome, dict[HospitalNumber, Message]]:
        self.require(len(self.received), self.phase)
        return self.proceed(self)


def most_common_binding(
    claims: Mapping[HospitalNumber, Binding],
) -> tuple[Binding, list[HospitalNumber]]:
    """Return the binding that most hospitals have, and the hospitals that have another one.

    The lowest number decides a tie. Needs at least one claim.
    """
    groups: dict[Binding, list[HospitalNumber]] = {}
    for who in sorted(claims):
        groups.setdefault(claims[who], []).append(who)
    best = max(groups, key=lambda binding: (len(groups[binding]), -groups[binding][0]))
    return best, sorted(set(claims) - set(groups[best]))


def vector_buffer(coding: Coding, who: HospitalNumber, message: Update) -> Any:
    """The one buffer of an upload, exactly as long as a coded vector. Raises FaultyHospital."""
    if len(message.buffers) != 1 or len(message.buffers[0]) != coding.wire_bytes:
        raise FaultyHospital(
            who,
            f"uploaded something else than one vector of {coding.wire_bytes} bytes",
            Reason.MALFORMED,
        )
    return message.buffers[0]


def signed_sum(coding: Coding, received: Aggregate) -> NDArray[Any]:
    """The ring elements of an aggregate as signed integers. Raises FaultyCoordinator for another
    length.
    """
    try:
        (buffer,) = received.buffers
        return coding.ring_type.signed(coding.ring_type.from_wire(buffer, coding.elements))
    except (CryptoError, ValueError):
        raise FaultyCoordinator(
            "sent an aggregate of another length than the agreed one", Reason.MALFORMED
        ) from None
