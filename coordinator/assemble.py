"""A coordinator from its files: the agreed config, roster and start, its secret and its run."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from coordinator.keeper import Keeper, Tell
from coordinator.service import OVERHEAD, Coordinator, message_limits
from coordinator.store import Store
from federation import config as federation_config
from federation import keys as federation_keys
from federation import model
from federation import roster as federation_roster
from federation.errors import ConfigError
from federation.transport.link import CoordinatorLink, CurveKeys

Tap = Callable[[str, bytes, Sequence[Any]], None]


def assemble(
    config_path: Path,
    out: Path,
    secret: Path | None = None,
    *,
    bind: str = "",
    record: bool = False,
    run: bytes | None = None,
    tell: Tell = print,
    tap: Tap | None = None,
) -> Coordinator:
    """Read a coordinator's files and open its port.

    Args:
        config_path: federation.toml; roster.toml and the start lie beside it.
        out: The run directory. A run that was left in it goes on.
        secret: The coordinator's secret file; by default the one beside the config.
        bind: host:port to listen at, by default the roster's address.
        record: Whether to keep what the coordinator sees of every round.
        run: The id of a new run; by default it is drawn at random.
        tell: Is given each sentence for the operator.
        tap: Sees every packet.

    Raises:
        ConfigError: If a file is missing, damaged, or does not belong to the others.
        AddressError: If it cannot listen there.
    """
    config = federation_config.read(config_path)
    roster_path = config_path.parent / "roster.toml"
    roster = federation_roster.read(roster_path)
    if len(roster) < config.federation.cohort:
        raise ConfigError(
            f"{roster_path}: has {len(roster)} hospitals, federation.cohort asks for"
            f" {config.federation.cohort}; add hospitals with `flop roster add`"
        )
    secret = secret or config_path.parent / f"{roster.coordinator.id}.secret"
    keys = federation_keys.read_secret(secret)
    if keys.transport_public != roster.coordinator.transport:
        raise ConfigError(
            f"{roster_path}: names another coordinator's keys than those in {secret}; use the"
            " secret that `flop keygen` wrote for this roster"
        )
    start = model.read_start(config_path.parent / config.model.start, config)
    store = Store(out, config)
    keeper = Keeper(
        config,
        roster,
        start,
        store,
        store.resume(run),
        record=record,
        tell=tell,
        now=time.monotonic(),
    )
    link = CoordinatorLink(
        bind or roster.coordinator.address,
        CurveKeys(*keys.transport_pair),
        lambda key: roster.number_of(key) is not None,
        lambda key: message_limits(keeper, roster.number_of(key)).total + OVERHEAD,
        tap,
    )
    return Coordinator(keeper, link)
