"""What several protections check and sign alike: survivors, and vectors in clear."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from crypto import signing
from crypto.errors import CryptoError
from crypto.kdf import Part
from federation.coding import Coding
from federation.config import FederationConfig
from federation.errors import ConfigError, FaultyCoordinator, FaultyHospital, Reason
from federation.messages import Aggregate, Update
from federation.plan import Plan
from federation.types import Digest, HospitalNumber, SigningKey

# ---- the config ----------------------------------------------------------------------


def needs_integers(config: FederationConfig, source: str) -> None:
    """Raise ConfigError if updates are to travel as float32."""
    if config.protection.bits == 0:
        raise ConfigError(
            f"{source}: protection.bits: 0 (float32) goes only with kind = 'plain'; masks and"
            " ciphertexts carry integers"
        )


def needs_majority(config: FederationConfig, source: str) -> None:
    """Raise ConfigError if two survivor sets without a hospital in common could both be signed."""
    threshold, cohort = config.protection.threshold, config.federation.cohort
    if threshold and 2 * threshold <= cohort:
        raise ConfigError(
            f"{source}: protection.threshold: must be more than half of the cohort of {cohort}"
        )


# ---- survivors -----------------------------------------------------------------------


def check_survivors(
    plan: Plan,
    members: tuple[HospitalNumber, ...],
    survivors: tuple[HospitalNumber, ...],
    me: HospitalNumber | None,
) -> None:
    """Raise FaultyCoordinator unless these can be the survivors of this round.

    They must be an ascending part of `members`, at least `threshold` and the hospital's own
    minimum, and contain `me` (None: a hospital that did not upload).
    """
    if list(survivors) != sorted(set(survivors)) or not set(survivors) <= set(members):
        raise FaultyCoordinator("named survivors that are no part of the members", Reason.COHORT)
    if len(survivors) < max(plan.threshold, plan.min_cohort):
        raise FaultyCoordinator(
            f"named {len(survivors)} survivors, fewer than are needed", Reason.THRESHOLD
        )
    if me is not None and me not in survivors:
        raise FaultyCoordinator(
            "left this hospital's update out of the survivors", Reason.UNEXPECTED
        )


def survivors_parts(
    context: Digest, transcript: Digest, survivors: tuple[HospitalNumber, ...]
) -> tuple[Part, ...]:
    """What a survivor signs."""
    return (context, transcript, len(survivors), *survivors)


def sign_survivors(
    key: SigningKey, context: Digest, transcript: Digest, survivors: tuple[HospitalNumber, ...]
) -> bytes:
    """A hospital's signature over the one survivor set of a round."""
    return signing.sign(key, "survivors", *survivors_parts(context, transcript, survivors))


def check_signatures(
    plan: Plan,
    context: Digest,
    transcript: Digest,
    survivors: tuple[HospitalNumber, ...],
    signers: tuple[HospitalNumber, ...],
    signatures: tuple[bytes, ...],
) -> None:
    """Raise FaultyCoordinator unless `threshold` of the survivors signed exactly this set."""
    if (
        len(signers) != len(signatures)
        or len(set(signers)) != len(signers)
        or not set(signers) <= set(survivors)
    ):
        raise FaultyCoordinator("relayed signatures of others than the survivors", Reason.SIGNATURE)
    if len(signers) < plan.threshold:
        raise FaultyCoordinator(
            f"relayed {len(signers)} signatures, {plan.threshold} are needed", Reason.THRESHOLD
        )
    parts = survivors_parts(context, transcript, survivors)
    signed = [
        (plan.roster.verify_keys[who], signature)
        for who, signature in zip(signers, signatures, strict=True)
    ]
    place = signing.first_invalid(signed, "survivors", *parts)
    if place is not None:
        raise FaultyCoordinator(
            f"relayed a signature that hospital {signers[place]} did not give", Reason.SIGNATURE
        )


# ---- vectors in clear, or under masks ------------------------------------------------


def vector_buffer(coding: Coding, who: HospitalNumber, message: Update) -> Any:
    """Return the one buffer of an upload, as long as a coded vector. Raises FaultyHospital."""
    if len(message.buffers) != 1 or len(message.buffers[0]) != coding.wire_bytes:
        raise FaultyHospital(
            who,
            f"uploaded something else than one vector of {coding.wire_bytes} bytes",
            Reason.MALFORMED,
        )
    return message.buffers[0]


def read_vector(coding: Coding, buffers: tuple[Any, ...]) -> NDArray[Any]:
    """Return the elements of a vector on the wire: signed integers, or float32 if `bits` is 0.

    Raises:
        CryptoError: If it is not exactly one vector of the agreed length.
    """
    if len(buffers) != 1 or len(buffers[0]) != coding.wire_bytes:
        raise CryptoError(f"a vector has {coding.wire_bytes} bytes")
    if coding.bits == 0:
        return np.frombuffer(buffers[0], "<f4")
    return coding.ring_type.signed(coding.ring_type.from_wire(buffers[0], coding.elements))


def aggregate_vector(coding: Coding, received: Aggregate) -> NDArray[Any]:
    """`read_vector` for a hospital. Raises FaultyCoordinator."""
    try:
        return read_vector(coding, received.buffers)
    except CryptoError:
        raise FaultyCoordinator(
            "sent an aggregate of another length than the agreed one", Reason.MALFORMED
        ) from None
