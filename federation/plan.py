"""What every party knows about a round before it begins, and the digest that binds every key, mask
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
from federation.types import Digest, HospitalNumber, KeyIdentifier, RunId


@dataclass(frozen=True)
class Binding:
    """What a hospital starts a round from: its shared model and its group key.

    `model` is a digest; under ckks, where the coordinator must not learn the model, a MAC of the
    digest under the group key. `group_key` is the key's identifier, None under plain, which needs
    no key.
    """

    model: Digest
    group_key: KeyIdentifier | None


@dataclass(frozen=True, kw_only=True)
class Plan:
    """One round. Every party computes it from what all have agreed on.

    `own_minimum` is the smallest cohort that this party accepts; it only ever raises the config's.
    """

    config: FederationConfig
    roster: Roster
    layout: Layout
    run: RunId
    round: int
    own_minimum: int = 1

    @cached_property
    def cohort(self) -> tuple[HospitalNumber, ...]:
        """Numbers of the hospitals that are asked this round, ascending."""
        settings = self.config.federation
        ids = [party.id for party in self.roster.hospitals]
        return cohort(settings.seed, self.round, ids, settings.cohort)

    @property
    def threshold(self) -> int:
        """t of Bonawitz et al. 2017: how many shares give a secret, and signatures fix a set."""
        return self.config.threshold

    @property
    def min_cohort(self) -> int:
        """With fewer hospitals than this, nobody takes part."""
        return max(self.config.federation.min_cohort, self.own_minimum)

    @cached_property
    def coding(self) -> Coding:
        """How updates become integers in this round."""
        return Coding.of(self.config, self.layout)

    def context(self, binding: Binding) -> Digest:
        """Digest of run, round, config, roster, cohort and binding. Every signature needs it, so it
        is computed once for each binding.
        """
        if binding not in self._contexts:
            parts: tuple[Part, ...] = (
                self.run,
                self.round,
                self.config.digest,
                self.roster.digest,
                *self.cohort,
                binding.model,
                binding.group_key or b"",
            )
            self._contexts[binding] = Digest(digest("context", *parts))
        return self._contexts[binding]

    @cached_property
    def _contexts(self) -> dict[Binding, Digest]:
        return {}

    def verify(self, who: HospitalNumber, signature: bytes, domain: str, *parts: Part) -> bool:
        """Return True if hospital `who` signed exactly these parts for this domain."""
        try:
            signing.verify(self.roster.verify_keys[who], signature, domain, *parts)
        except InvalidSignature:
            return False
        return True
