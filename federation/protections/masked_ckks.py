"""`masked+ckks`: masked aggregation whose sum is a ciphertext.

The coordinator alone learns nothing, not even the sum; with fewer than 2t − n hospitals beside it,
it learns the sum and nothing else. No hospital reads another's update, though all hold one
decryption key.

Every phase is that of masked.py. Only what carries the vector differs: the update is packed as
under `ckks`, each packed part gets the hospital's masks mod 2^modulus_bits, and the masked parts
are encrypted. The coordinator adds ciphertexts, recovers the survivors' self masks and the
dropouts' pairwise masks as under `masked`, and subtracts their sum *inside* the ciphertext, as a
plaintext: the aggregate is that of `ckks`, and a hospital opens it without drawing a single mask.
It needs no proof that the right masks were subtracted, because the tag is over the sum itself.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crypto import keystream
from crypto.packing import Packing
from crypto.ring import Ring
from federation.coding import Sum
from federation.config import FederationConfig
from federation.errors import FaultyCoordinator, LocalProtocolError, Reason
from federation.groupkey import GroupKey
from federation.messages import AdvertiseKeys, Aggregate, Grant, Update
from federation.plan import Binding, Plan
from federation.protections import ckks, masked, masked_coordinator
from federation.protections.base import LocalInputs, Protection, Steps
from federation.protections.checks import needs_majority
from federation.protections.masked_states import Advertised, Keyed, Masked
from federation.protections.masks import mask_tag, tagger
from federation.protections.sees import Reads, Sees
from federation.types import Digest, HospitalNumber

STREAM = "parts"
WORDS = Ring(64)
"""Masks are drawn as whole words; a uniform word is uniform mod 2^modulus_bits."""


def validate(config: FederationConfig, source: str) -> None:
    """What masks ask for, and what ciphertexts ask for."""
    ckks.validate(config, source, masked=True)
    needs_majority(config, source)


def _mask(
    parts: NDArray[np.int64], streams: Iterable[tuple[bytes, int]], how: Packing
) -> NDArray[np.int64]:
    """Return parts ± one word of every stream, mod 2^modulus_bits. Overwrites `parts`."""
    keystream.apply(parts.view(WORDS.dtype), streams, WORDS)
    return how.wrap(parts)


# ---- hospital ------------------------------------------------------------------------


def advertise_keys(plan: Plan, own: LocalInputs) -> tuple[Advertised, AdvertiseKeys]:
    """Make fresh keys for this round; the model's digest goes under the group key, as in `ckks`."""
    return masked.advertise_keys(plan, own, ckks.bind)


def protect(state: Keyed, received: Grant) -> tuple[Masked, Update]:
    """Pack, mask, encrypt; add the tag under masks of its own; sign.

    There is exactly one vector for each seed and stream.
    """
    from crypto.ckks import Encryptor

    plan, own, held = state.plan, state.own, state.held
    how = ckks.packing(plan.coding, masked=True)
    if own.group is None:
        raise LocalProtocolError("an encrypted round without a group key")
    values, clipped = plan.coding.integers(own.contribution)
    tags = tagger(own.group, state.context, held.transcript)
    tags.update(values)
    parts = _mask(how.pack(values), state.streams(STREAM), how)
    blobs = tuple(Encryptor(own.group.ckks, how).encrypt(parts))
    word = mask_tag(tags.tag(own.number), state.streams("tag"))
    message = ckks.signed_update(plan, own, held.transcript, word, blobs)
    return Masked(plan, own, state.binding, held, clipped), message


HOSPITAL: Steps = {**masked.HOSPITAL, (Keyed, Grant): protect}


def open_aggregate(
    plan: Plan,
    binding: Binding,
    group: GroupKey | None,
    received: Aggregate,
    signed: tuple[HospitalNumber, ...] | None,
) -> Sum:
    """Decrypt the sum; it counts only if its tag is that of the signed survivors' updates.

    Raises FaultyCoordinator.
    """
    if received.transcript is None:
        raise FaultyCoordinator("sent an aggregate without a transcript", Reason.MALFORMED)
    how = ckks.packing(plan.coding, masked=True)
    return ckks.open_sum(how, plan, binding, group, received, signed, received.transcript)


# ---- coordinator ---------------------------------------------------------------------


class CipherTotal:
    """The sum as ciphertexts that the coordinator cannot open."""

    stream = STREAM

    def __init__(self, plan: Plan) -> None:
        from crypto.ckks import Adder

        self.plan, self.how = plan, ckks.packing(plan.coding, masked=True)
        self.adder = Adder(self.how, plan.coding.elements)

    def add(self, who: HospitalNumber, message: Update, transcript: Digest) -> None:
        ckks.add_signed(self.plan, self.adder, who, message, transcript)

    def unmask(self, streams: Iterable[tuple[bytes, int]]) -> None:
        # Taking the masks out of zero leaves minus what is in the sum.
        zero = np.zeros(self.how.parts(self.plan.coding.elements), np.int64)
        self.adder.subtract(self.how.wrap(-_mask(zero, streams, self.how)))

    def wire(self) -> tuple[Any, ...]:
        return tuple(self.adder.result())

    def read(self, aggregate: Aggregate) -> None:
        """The coordinator sees nothing of the sum."""


def open_round(plan: Plan) -> masked_coordinator.Keys:
    """Return the state in which a round begins."""
    return masked_coordinator.open_round(plan, CipherTotal)


PROTECTION = Protection(
    name="masked+ckks",
    sees=Sees(
        reads=Reads.NOTHING,
        update="unless {helpers} of the other hospitals help it: masked inside the ciphertext",
        counts="inside the ciphertexts",
        sentence=(
            "It saw ciphertexts of masked updates, and neither the sum nor the shared model after"
            " round 1."
        ),
    ),
    allowed_by_default=True,
    validate=validate,
    sizes=partial(ckks.sizes, masked=True),
    make_key=partial(ckks.make_key, masked=True),
    bind=ckks.bind,
    begin=advertise_keys,
    steps=HOSPITAL,
    open_aggregate=open_aggregate,
    open_round=open_round,
)
