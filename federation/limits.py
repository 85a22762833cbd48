"""How large a message may be, before a byte of it is believed. Formulas of d and n only."""

from __future__ import annotations

from federation import protections
from federation.codec import Limits
from federation.coding import Coding
from federation.config import FederationConfig
from federation.layout import Layout
from federation.protections.base import Sizes


def _bodies(hospitals: int, cohort: int) -> tuple[int, int]:
    """(largest body from a hospital, largest body from the coordinator), in bytes.

    A ShareKeys row is at most 98 + 16 + 64 + 64 bytes and their headers; an advertisement in a
    KeyList at most 300 bytes and 3 for each holder; signatures 70 bytes each.
    """
    row, advert = 300, 400 + 3 * cohort
    return 4096 + row * cohort, 8192 + cohort * (advert + row + 80) + 8 * hospitals


def vector_bytes(config: FederationConfig, layout: Layout) -> Sizes:
    """Bytes of the buffers of one protected vector, on the way up and on the way down."""
    return protections.get(config.protection.kind).sizes(Coding.of(config, layout))


def state_bytes(layout: Layout) -> int:
    """The most that a sealed state takes: a model file, a CKKS key, and their envelopes."""
    return 4 * layout.size + 200 * len(layout.names) + 400_000


def from_hospital(
    config: FederationConfig, layout: Layout, hospitals: int, buffers: int = 0
) -> Limits:
    """What the coordinator takes from a hospital; `buffers` is 0 unless an upload was granted or a
    state asked for.
    """
    return Limits(_bodies(hospitals, config.federation.cohort)[0], buffers)


def from_coordinator(config: FederationConfig, layout: Layout, hospitals: int) -> Limits:
    """What a hospital takes from the coordinator: an aggregate or a peer's sealed state at most."""
    body = _bodies(hospitals, config.federation.cohort)[1]
    return Limits(body, max(vector_bytes(config, layout).download, state_bytes(layout)))
