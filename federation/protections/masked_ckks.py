"""`masked+ckks`: masked aggregation whose sum is a ciphertext. The coordinator alone learns
nothing, not even the sum; with fewer than 2t − n hospitals beside it, it learns the sum and nothing
else. No hospital reads another's update, though all hold one decryption key.

Every phase is that of masked.py. Only what carries the vector differs: the update is packed as
under `ckks`, each packed part gets the hospital's masks mod 2^modulus_bits, and the masked parts
are encrypted. The coordinator adds ciphertexts, recovers the survivors' self masks and the
dropouts' pairwise masks as ever, and subtracts their sum *inside* the ciphertext, as a plaintext:
the aggregate is that of `ckks`, and a hospital opens it without drawing a single mask. It needs no
proof that the right masks were subtracted, as the tag is over the sum itself.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crypto import keystream
from crypto.ckks import Adder, Encryptor
from crypto.packing import Packing
from crypto.ring import Ring
from federation.coding import Sum
from federation.errors import FaultyCoordinator, LocalProtocolError, Reason
from federation.groupkey import GroupKey
from federation.messages import AdvertiseKeys, Aggregate, Grant, Update
from federation.plan import Binding, Plan
from federation.protections import masked, masked_coordinator
from federation.protections.base import LocalInputs
from federation.protections.ckks import add_signed, bind, open_sum, packing_of, signed_update
from federation.protections.masked import (
    Advertised,
    Keyed,
    Masked,
    mask_streams,
    masked_tag,
    new_tagger,
)
from federation.types import Digest, HospitalNumber

STREAM = "parts"
WORDS = Ring(64)
"""Masks are drawn as whole words; a uniform word is uniform mod 2^modulus_bits."""


def _mask(
    parts: NDArray[np.int64], streams: Iterable[tuple[bytes, int]], how: Packing
) -> NDArray[np.int64]:
    """parts plus or minus one word of every stream, mod 2^modulus_bits. Overwrites `parts`."""
    keystream.apply(parts.view(WORDS.dtype), streams, WORDS)
    return how.wrap(parts)


# ---- hospital ------------------------------------------------------------------------


def advertise_keys(plan: Plan, own: LocalInputs) -> tuple[Advertised, AdvertiseKeys]:
    """Fresh keys for this round; the model's digest goes under the group's key, as under `ckks`."""
    return masked.advertise_keys(plan, own, standing=bind)


def protect(state: Keyed, received: Grant) -> tuple[Masked, Update]:
    """Pack, mask, encrypt; the tag under masks of its own; sign. Exactly one vector per seed and
    stream.
    """
    plan, own, how = state.plan, state.own, packing_of(state.plan, masked=True)
    if own.group is None:
        raise LocalProtocolError("an encrypted round without a group key")
    values, clipped = plan.coding.integers(own.contribution)
    tagger = new_tagger(state)
    tagger.update(values)
    parts = _mask(how.pack(values), mask_streams(state, STREAM), how)
    blobs = tuple(Encryptor(own.group.ckks, how).encrypt(parts))
    message = signed_update(plan, own, state.held.transcript, masked_tag(state, tagger), blobs)
    return Masked(plan, own, state.binding, state.held, clipped), message


HOSPITAL = {**masked.HOSPITAL, (Keyed, Grant): protect}


def open_aggregate(
    plan: Plan,
    binding: Binding,
    group: GroupKey | None,
    received: Aggregate,
    signed: tuple[HospitalNumber, ...] | None,
) -> Sum:
    """Decrypt the sum; it counts only if its tag says that it is the signed survivors'. Raises
    FaultyCoordinator.
    """
    if received.transcript is None:
        raise FaultyCoordinator("sent an aggregate without a transcript", Reason.MALFORMED)
    return open_sum(
        packing_of(plan, masked=True), plan, binding, group, received, signed, received.transcript
    )


# ---- coordinator ---------------------------------------------------------------------


class CipherTotal:
    """The sum as ciphertexts that the coordinator cannot open."""

    stream = STREAM

    def __init__(self, plan: Plan) -> None:
        self.plan, self.how = plan, packing_of(plan, masked=True)
        self.adder = Adder(self.how, plan.coding.elements)

    def add(self, who: HospitalNumber, message: Update, transcript: Digest) -> None:
        add_signed(self.plan, self.adder, who, message, transcript)

    def unmask(self, streams: Iterable[tuple[bytes, int]]) -> None:
        """What takes the masks out of zero is what is left of them, turned round."""
        rest = _mask(
            np.zeros(self.how.parts(self.plan.coding.elements), np.int64), streams, self.how
        )
        self.adder.subtract(self.how.wrap(-rest))

    def wire(self) -> tuple[Any, ...]:
        return tuple(self.adder.result())

    def read(self, aggregate: Aggregate) -> None:
        """Nothing."""


def open_round(plan: Plan) -> masked_coordinator.Keys:
    """The state in which a round begins."""
    return masked_coordinator.open_round(plan, CipherTotal)
