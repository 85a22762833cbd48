"""What this hospital refuses, whatever the others have agreed on. Stands in hospital.toml and never
leaves.
"""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct

from federation.config import FederationConfig
from federation.errors import ConfigError
from federation.protections import Name, allowed_by_default


class Policy(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """`min_cohort`: fewer hospitals in a round or among its survivors are refused. `protections`:
    what it takes part under.

    `share_metrics`: whether the coordinator is told this hospital's own test accuracy and clip
    count.
    """

    min_cohort: Annotated[int, Meta(ge=1)] = 3
    protections: tuple[Name, ...] = allowed_by_default()
    share_metrics: bool = False

    def check(self, config: FederationConfig, source: str) -> None:
        """Raises ConfigError where the federation is not what this hospital agrees to."""
        kind = config.protection.kind
        if kind not in self.protections:
            raise ConfigError(
                f"{source}: policy.protections: this federation is protected by {kind!r}, which"
                " this hospital does not allow; add it there if you accept what"
                " docs/threat-model.md says of it"
            )
        if config.federation.min_cohort < self.min_cohort:
            raise ConfigError(
                f"{source}: policy.min_cohort: the federation goes down to"
                f" {config.federation.min_cohort} hospitals, this one asks for {self.min_cohort};"
                " in a cohort of 2 each learns the other's update"
            )
