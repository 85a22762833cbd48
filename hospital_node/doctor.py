"""`flop doctor`: checks what a hospital needs, step by step, and names the first failure."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from federation import model
from federation.errors import ConfigError
from federation.transport.link import Connected, CurveKeys, Denied, Disconnected, HospitalLink
from hospital_node import local_data
from hospital_node.settings import Hospital
from hospital_node.storage import in_use
from learning import device

Tell = Callable[[str], None]
PATIENCE_S = 10.0


def examine(path: Path, tell: Tell) -> bool:
    """Return True if all checks pass; `tell` is given one line for each. Stops at a failure."""
    hospital: Hospital | None = None

    def files() -> str:
        nonlocal hospital
        hospital = Hospital(path)
        return (
            f"{hospital.secrets.id} in a roster of {len(hospital.roster)}, accepted:"
            f" {hospital.roster.fingerprint}"
        )

    def start() -> str:
        found = model.read_start(_there(hospital).start_path, _there(hospital).config)
        return f"{found.layout.size:,} shared parameters, the agreed digest"

    def data() -> str:
        found = local_data.load(_there(hospital).settings.data, _there(hospital).config)
        return (
            f"{len(found.train)} images to train on, {len(found.test)} to test on,"
            f" {len(found.skipped)} skipped"
        )

    def computing() -> str:
        several = device.choose_several(_there(hospital).settings.hospital.device)
        return ", ".join(map(str, several))

    hops: list[tuple[str, Callable[[], str]]] = [
        ("files and keys", files),
        ("start of the model", start),
        ("images", data),
        ("device", computing),
        ("coordinator", lambda: _connect(_there(hospital))),
    ]
    for name, hop in hops:
        try:
            tell(f"ok    {name}: {hop()}")
        except (ConfigError, ValueError, ConnectionError) as error:
            tell(f"FAILS {name}: {error}")
            return False
    return True


def _there(hospital: Hospital | None) -> Hospital:
    if hospital is None:
        raise ConfigError("the hospital's files were not read")
    return hospital


def _connect(hospital: Hospital) -> str:
    """Connect to the coordinator and hang up again.

    Returns:
        What was found, or why it was not tried.

    Raises:
        ConnectionError: If there is no answer, or the coordinator refuses this hospital's key.
    """
    if in_use(hospital.out):
        return (
            "not tried: this hospital's node is running, and a second connection would replace its"
            " own; see the node's log"
        )
    link = HospitalLink(
        hospital.address,
        CurveKeys(*hospital.secrets.transport_pair),
        hospital.roster.coordinator.transport_key,
        lambda peer: 65_536,
    )
    until = time.monotonic() + PATIENCE_S
    reason = (
        f"{hospital.address} did not answer within {PATIENCE_S:.0f} s; check that the coordinator"
        " is running and that its port is open"
    )
    try:
        while time.monotonic() < until:
            for event in link.poll(0.2):
                if isinstance(event, Connected):
                    return f"{hospital.address} knows this hospital's key"
                if isinstance(event, Denied | Disconnected):
                    raise ConnectionError(event.reason.removesuffix(" (trying again)"))
    finally:
        link.close()
    raise ConnectionError(reason)
