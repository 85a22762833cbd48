"""The masks that lie over a hospital's vector, and the tag under masks of its own."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from crypto import keystream
from crypto.errors import CryptoError
from crypto.ring import Ring
from crypto.tag import Tagger
from federation.errors import FaultyHospital, LocalProtocolError, Reason
from federation.groupkey import GroupKey
from federation.messages import AdvertiseKeys
from federation.protections import derivations as derive
from federation.protections import graph
from federation.protections.dealing import RoundKeys
from federation.types import Digest, HospitalNumber

TAG_RING = Ring(64)

Streams = list[tuple[bytes, int]]
"""(key, sign) of each mask: sign 1 adds it, −1 subtracts it."""


def hospital_streams(
    me: HospitalNumber,
    keys: RoundKeys,
    adverts: Mapping[HospitalNumber, AdvertiseKeys],
    members: tuple[HospitalNumber, ...],
    transcript: Digest,
    stream: str,
) -> Streams:
    """Return the masks that this hospital adds to a stream (`vector`, `parts` or `tag`).

    Raises:
        FaultyHospital: If a neighbour advertised an unusable mask key.
    """
    holders_of = {who: advert.holders for who, advert in adverts.items()}
    found = [(derive.self_stream(keys.seed, transcript, me, stream), 1)]
    for other in graph.neighbours(me, members, holders_of):
        try:
            secret = keys.masks.secret(adverts[other].mask_key)
        except CryptoError:
            raise FaultyHospital(
                other, "advertised an unusable mask key", Reason.MALFORMED
            ) from None
        key = derive.pair_stream(secret, transcript, me, other, stream)
        found.append((key, derive.pair_sign(me, other)))
    return found


def tagger(group: GroupKey | None, context: Digest, transcript: Digest) -> Tagger:
    """Return what takes a hospital's integers and gives their tag."""
    if group is None:
        raise LocalProtocolError("a masked round without a group key")
    return Tagger(group.secret, derive.tag_context(context, transcript))


def mask_tag(tag: int, streams: Streams) -> bytes:
    """Return a tag with these masks added, 8 bytes little-endian."""
    word = np.array([tag], TAG_RING.dtype)
    keystream.apply(word, streams, TAG_RING)
    return word.tobytes()
