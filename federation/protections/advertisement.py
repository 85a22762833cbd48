"""The keys that a hospital advertises for a round: what it signs, their digest, and when they are
refused. Both roles use it.
"""

from __future__ import annotations

from crypto.kdf import Part, digest
from federation.errors import FaultyHospital, Reason
from federation.messages import AdvertiseKeys
from federation.plan import Binding, Plan
from federation.protections import graph
from federation.types import Digest


def signed_parts(context: Digest, advert: AdvertiseKeys) -> tuple[Part, ...]:
    """What a hospital signs when it advertises keys."""
    return (
        context,
        advert.sender,
        advert.mask_key,
        advert.channel_key,
        len(advert.holders),
        *advert.holders,
    )


def digest_of(advert: AdvertiseKeys) -> Digest:
    return Digest(
        digest(
            "advert",
            advert.sender,
            advert.model,
            advert.group_key,
            advert.mask_key,
            advert.channel_key,
            len(advert.holders),
            *advert.holders,
            advert.signature,
        )
    )


def check(plan: Plan, binding: Binding, advert: AdvertiseKeys) -> None:
    """Raises FaultyHospital unless its sender signed it for this round, standing where `binding`
    says.
    """
    who = advert.sender
    if Binding(advert.model, advert.group_key) != binding:
        raise FaultyHospital(
            who, "stands at another model or group key than this hospital", Reason.CONTEXT
        )
    if advert.round != plan.round:
        raise FaultyHospital(who, "advertised keys for another round", Reason.MALFORMED)
    graph.check_holders(plan, who, advert.holders)
    if not plan.verify(
        who, advert.signature, "advertise-keys", *signed_parts(plan.context(binding), advert)
    ):
        raise FaultyHospital(who, "did not sign its keys for this round", Reason.SIGNATURE)
