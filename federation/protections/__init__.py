"""The registry of protections: what the coordinator is kept from.

A new protection is one module with an object `PROTECTION` (see `base.Protection`) and one line in
`REGISTRY`. Modules are loaded when they are asked for, so reading a config loads no cryptography
library that the federation does not use.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Literal

from federation.errors import ConfigError

if TYPE_CHECKING:
    from federation.protections.base import Protection

REGISTRY = {
    "plain": "federation.protections.plain",
    "masked": "federation.protections.masked",
    "ckks": "federation.protections.ckks",
    "masked+ckks": "federation.protections.masked_ckks",
}
"""Name in `federation.toml` → module."""

DEFAULT = "masked"
UNPROTECTED = "plain"
"""What the others are compared with."""

if TYPE_CHECKING:
    Name = str
else:
    Name = Literal[tuple(REGISTRY)]  # the type of a config key: only these names are accepted


def names() -> tuple[str, ...]:
    """Return the names of all protections, in the order of the registry."""
    return tuple(REGISTRY)


def get(name: str) -> Protection:
    """Return the protection of this name. Raises ConfigError if there is none."""
    if name not in REGISTRY:
        raise ConfigError(f"protection {name!r}: is unknown; it is one of {', '.join(REGISTRY)}")
    found: Protection = import_module(REGISTRY[name]).PROTECTION
    return found


def allowed_by_default() -> tuple[str, ...]:
    """Return the protections that a hospital takes part under unless its policy says otherwise."""
    return tuple(name for name in REGISTRY if get(name).allowed_by_default)
