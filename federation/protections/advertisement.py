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
    keys = (advert.mask_key, advert.channel_key)
    return (context, advert.sender, *keys, len(advert.holders), *advert.holders)


def digest_of(advert: AdvertiseKeys) -> Digest:
    """32 bytes that stand for one advertisement, its signature included."""
    keys = (advert.model, advert.group_key, advert.mask_key, advert.channel_key)
    holders = (len(advert.holders), *advert.holders)
    return Digest(digest("advert", advert.sender, *keys, *holders, advert.signature))


def check(plan: Plan, binding: Binding, advert: AdvertiseKeys) -> None:
    """Raise FaultyHospital unless its sender signed it for this round and this binding."""
    who = advert.sender
    if Binding(advert.model, advert.group_key) != binding:
        raise FaultyHospital(
            who, "has another model or group key than this hospital", Reason.CONTEXT
        )
    if advert.round != plan.round:
        raise FaultyHospital(who, "advertised keys for another round", Reason.MALFORMED)
    graph.check_holders(plan, who, advert.holders)
    parts = signed_parts(plan.context(binding), advert)
    if not plan.verify(who, advert.signature, "advertise-keys", *parts):
        raise FaultyHospital(who, "did not sign its keys for this round", Reason.SIGNATURE)
