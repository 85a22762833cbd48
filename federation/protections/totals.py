"""What carries the sum of a masked round while masks are still in it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Protocol

import numpy as np

from crypto import keystream
from federation.coding import Coding, Sum
from federation.messages import Aggregate, Update
from federation.protections.checks import read_vector, vector_buffer
from federation.types import Digest, HospitalNumber


class Total(Protocol):
    """Ring elements here, ciphertexts in masked_ckks.py."""

    stream: str
    """Which of a hospital's mask streams lies over it."""

    def add(self, who: HospitalNumber, message: Update, transcript: Digest) -> None:
        """Add one hospital's upload, whole or not at all. Raises FaultyHospital."""

    def unmask(self, streams: Iterable[tuple[bytes, int]]) -> None:
        """Take out what is left of the masks: (key, sign) each, as for `keystream.apply`."""

    def wire(self) -> tuple[Any, ...]:
        """Return the buffers of the aggregate."""

    def read(self, aggregate: Aggregate) -> Sum | None:
        """Return what the coordinator sees of the sum. Raises CryptoError if it cannot be one."""


class RingTotal:
    """The sum as one vector of ring elements."""

    stream = "vector"

    def __init__(self, coding: Coding) -> None:
        self.coding, self.ring = coding, coding.ring_type
        self.elements = np.zeros(coding.elements, self.ring.dtype)

    def add(self, who: HospitalNumber, message: Update, transcript: Digest | None) -> None:
        self.ring.add_into(self.elements, vector_buffer(self.coding, who, message))

    def unmask(self, streams: Iterable[tuple[bytes, int]]) -> None:
        keystream.apply(self.elements, streams, self.ring)

    def wire(self) -> tuple[Any, ...]:
        return (self.ring.to_wire(self.elements),)

    def read(self, aggregate: Aggregate) -> Sum:
        values = read_vector(self.coding, aggregate.buffers)
        return self.coding.decode(values, len(aggregate.survivors))
