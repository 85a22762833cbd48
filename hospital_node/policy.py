"""Table `policy` of hospital.toml: what this hospital refuses, whatever the others agree on."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct

from federation.config import FederationConfig
from federation.errors import ConfigError
from federation.protections import Name, allowed_by_default


class Policy(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """This hospital's conditions for taking part.

    Attributes:
        min_cohort: A round is refused if fewer hospitals are in it, or in its sum.
        protections: The protections under which this hospital takes part.
        share_metrics: Whether the coordinator receives this hospital's test accuracy and clip
            count.
    """

    min_cohort: Annotated[int, Meta(ge=1)] = 3
    protections: tuple[Name, ...] = allowed_by_default()
    share_metrics: bool = False

    def check(self, config: FederationConfig, source: str) -> None:
        """Check that a federation meets these conditions.

        Args:
            config: The federation.
            source: The name of this hospital's hospital.toml, for the message.

        Raises:
            ConfigError: If it does not.
        """
        kind = config.protection.kind
        if kind not in self.protections:
            raise ConfigError(
                f"{source}: policy.protections: this federation is protected by {kind!r}, which"
                " this hospital does not allow; add it to the list if you accept what"
                " docs/threat-model.md says about it"
            )
        if config.federation.min_cohort < self.min_cohort:
            raise ConfigError(
                f"{source}: policy.min_cohort: this federation allows rounds with"
                f" {config.federation.min_cohort} hospitals, but this hospital asks for at least"
                f" {self.min_cohort}; agree on a larger federation.min_cohort, or lower this one"
                " (in a cohort of 2 each hospital learns the other's update)"
            )
