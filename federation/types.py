"""Types for values that are all `bytes` or `int` to Python and must not be swapped.

`NewType`s cost nothing at run time. Code outside this package converts at its edge, where bytes or
numbers come from a file or from the transport.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NewType

RunId = NewType("RunId", bytes)
"""16 random bytes, drawn by the coordinator for one run."""

SessionId = NewType("SessionId", bytes)
"""16 random bytes, drawn by a hospital each time its process starts."""

HospitalNumber = NewType("HospitalNumber", int)
"""A hospital's place in the roster, sorted by id; from 0."""

Digest = NewType("Digest", bytes)
"""32 bytes that stand for something both sides can compute: a config, a roster, a model."""

KeyIdentifier = NewType("KeyIdentifier", bytes)
"""32 bytes that tell whether two hospitals hold the same group key, and nothing about the key."""

SigningKey = NewType("SigningKey", bytes)
"""A hospital's private Ed25519 key, 32 bytes."""

SealingKey = NewType("SealingKey", bytes)
"""A hospital's private X25519 key of the roster, 32 bytes."""

Random = Callable[[int], bytes]
"""`random(n)` gives n random bytes. The product passes `secrets.token_bytes`."""
