"""What only a simulation derives from its seed: names, run id, the hospitals' own secrets. Keys and
masks never.
"""

from __future__ import annotations

from federation.keys import private_randomness


def hospital_ids(count: int) -> list[str]:
    """hospital-1 …, padded so that their order is their number's."""
    width = len(str(count))
    return [f"hospital-{number:0{width}d}" for number in range(1, count + 1)]


def own_secret(seed: int, identifier: str) -> bytes:
    """A simulated hospital's own secret, 32 bytes."""
    return private_randomness(seed.to_bytes(8, "big"), "simulated-hospital", identifier)


def run_id(seed: int) -> bytes:
    """A simulated run's id, 16 bytes."""
    return private_randomness(seed.to_bytes(8, "big"), "simulated-run", length=16)
