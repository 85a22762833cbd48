"""What everybody knows about a round before it begins, and the digest that binds every key, mask
and signature to it.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from crypto import signing
from crypto.errors import InvalidSignature
from crypto.kdf import Part, digest
from federation.coding import Coding
from federation.cohort import cohort
from federation.config import FederationConfig
from federation.layout import Layout
from federation.roster import Roster


@dataclass(frozen=True)
class Binding:
    """Where a hospital stands: a digest of its shared model, and an identifier of its group key.

    Under ckks, where the coordinator must not learn the model, `model` is a MAC of the digest under
    the group's key.
    """

    model: bytes
    group_key: bytes


@dataclass(frozen=True)
class Plan:
    """One round. `cohort` holds roster numbers, ascending; `threshold` is t of Bonawitz et al.
    2017.
    """

    run: bytes
    round: int
    config: bytes
    roster: bytes
    cohort: tuple[int, ...]
    threshold: int
    min_cohort: int
    graph: str
    corrupt: float
    dropouts: float
    verify_keys: tuple[bytes, ...]
    coding: Coding

    @classmethod
    def of(
        cls,
        config: FederationConfig,
        roster: Roster,
        layout: Layout,
        run: bytes,
        round_: int,
        min_cohort: int | None = None,
    ) -> Plan:
        """The plan of a round. A hospital gives its own `min_cohort`, never lower than the
        config's.
        """
        settings = config.federation
        members = cohort(
            settings.seed, round_, [party.id for party in roster.hospitals], settings.cohort
        )
        return cls(
            run=run,
            round=round_,
            config=config.digest,
            roster=roster.digest,
            cohort=members,
            threshold=config.threshold,
            min_cohort=max(settings.min_cohort, min_cohort or 0),
            graph=config.protection.graph,
            corrupt=config.protection.corrupt,
            dropouts=config.protection.dropouts,
            verify_keys=roster.verify_keys,
            coding=Coding.of(config, layout),
        )

    def context(self, binding: Binding) -> bytes:
        """32 bytes: run, round, config, roster, cohort, model before the round, group key. Every
        signature needs it: it is kept.
        """
        if binding not in self._contexts:
            parts: tuple[Part, ...] = (
                self.run,
                self.round,
                self.config,
                self.roster,
                *self.cohort,
                binding.model,
                binding.group_key,
            )
            self._contexts[binding] = digest("context", *parts)
        return self._contexts[binding]

    @cached_property
    def _contexts(self) -> dict[Binding, bytes]:
        return {}

    def verify(self, who: int, signature: bytes, domain: str, *parts: Part) -> bool:
        """Whether hospital `who` signed this."""
        try:
            signing.verify(self.verify_keys[who], signature, domain, *parts)
        except InvalidSignature:
            return False
        return True
