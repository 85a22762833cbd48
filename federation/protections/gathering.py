"""The coordinator's side of a protection: it gathers a message of each hospital, then goes on.

A `Gathering` is one phase. It takes one message from each awaited hospital and closes into the next
phase, or into the `Outcome` of the round.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Generic, TypeVar

from federation.coding import Sum
from federation.errors import FaultyHospital, Reason, RoundAborted
from federation.messages import Aggregate, Consistency, Message, Survivors
from federation.plan import Binding, Plan
from federation.protections.checks import survivors_parts
from federation.types import Digest, HospitalNumber

M = TypeVar("M", bound=Message)
Kept = TypeVar("Kept")


@dataclass(frozen=True)
class Outcome:
    """A finished round: what goes to every hospital, and the sum if the coordinator sees it."""

    aggregate: Aggregate
    total: Sum | None


@dataclass(kw_only=True)
class Gathering(Generic[M, Kept]):
    """The coordinator waits for one `expects` from each hospital in `awaited`."""

    phase: ClassVar[str] = ""
    expects: ClassVar[type[Message]] = Message
    granted: ClassVar[bool] = False
    """Whether hospitals send only when granted, in the order of `awaited`."""

    plan: Plan
    awaited: tuple[HospitalNumber, ...]
    received: dict[HospitalNumber, Kept] = field(default_factory=dict)
    faults: list[FaultyHospital] = field(default_factory=list)
    """Hospitals that broke the protocol without ending the round."""

    def accept(self, who: HospitalNumber, message: M) -> None:
        """Check and keep one message of an awaited hospital. Raises FaultyHospital."""
        raise NotImplementedError

    def close(self) -> Next:
        """Go on: every message that will come has come.

        Returns:
            The next state, and what to send to whom.

        Raises:
            RoundAborted: If too few hospitals are left, or the sum cannot be one.
        """
        raise NotImplementedError

    @property
    def present(self) -> tuple[HospitalNumber, ...]:
        """Numbers of the hospitals whose message has come, ascending."""
        return tuple(sorted(self.received))

    def require(self, count: int, phase: str) -> None:
        """Raise RoundAborted if `count` hospitals are too few to go on."""
        least = max(self.plan.threshold, self.plan.min_cohort)
        if count < least:
            raise RoundAborted(
                f"{phase}: {count} hospitals are left, {least} are needed", Reason.THRESHOLD
            )

    def majority(self, claims: Mapping[HospitalNumber, Binding]) -> Binding:
        """Return the binding that most hospitals have; the lowest number decides a tie.

        The others are dropped from `received` and become faults. Raises RoundAborted if too few
        are left.
        """
        self.require(len(claims), self.phase)
        groups: dict[Binding, list[HospitalNumber]] = {}
        for who in sorted(claims):
            groups.setdefault(claims[who], []).append(who)
        best = max(groups, key=lambda binding: (len(groups[binding]), -groups[binding][0]))
        for who in sorted(set(claims) - set(groups[best])):
            del self.received[who]
            text = "has another model or group key than most"
            self.faults.append(FaultyHospital(who, text, Reason.CONTEXT))
        self.require(len(self.received), self.phase)
        return best


AnyGathering = Gathering[Any, Any]
Next = tuple[AnyGathering | Outcome, Mapping[HospitalNumber, Message]]


@dataclass(kw_only=True)
class Signatures(Gathering[Consistency, bytes]):
    """Every survivor signs the survivor set; `proceed` goes on with at least `threshold`
    signatures.
    """

    phase = "consistency"
    expects = Consistency

    context: Digest
    transcript: Digest
    survivors: tuple[HospitalNumber, ...]
    proceed: Callable[[Signatures], Next]

    @classmethod
    def ask(
        cls,
        before: AnyGathering,
        context: Digest,
        transcript: Digest,
        proceed: Callable[[Signatures], Next],
    ) -> tuple[Signatures, dict[HospitalNumber, Message]]:
        """Go from uploads to signatures: the survivors are the hospitals that uploaded."""
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
        parts = survivors_parts(self.context, self.transcript, self.survivors)
        if not self.plan.verify(who, message.signature, "survivors", *parts):
            raise FaultyHospital(who, "did not sign the survivors", Reason.SIGNATURE)
        self.received[who] = message.signature

    def close(self) -> Next:
        self.require(len(self.received), self.phase)
        return self.proceed(self)

    @property
    def signatures(self) -> tuple[bytes, ...]:
        """In the order of `present`."""
        return tuple(self.received[who] for who in self.present)
