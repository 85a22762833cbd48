"""`flop bench masking`: what masks cost, against the keystream that they need at least.

One process, one thread, one run. Times are CPU time and medians over repetitions in turn, so that a
busy machine slows everything alike.
"""

from __future__ import annotations

import os
import statistics
import time
import tracemalloc
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from coordinator.round import UPLOADS_AT_ONCE
from crypto.errors import ConfigOverflow
from crypto.keystream import Stream
from crypto.tag import Tagger
from federation import codec
from federation.coding import Coding, Contribution
from federation.config import (
    FederationConfig,
    Model,
    Protection,
    Rounds,
    validate,
)
from federation.layout import Layout
from federation.messages import Aggregate, Update
from federation.model import SharedModel
from federation.protections.totals import RingTotal
from federation.transport.packets import CHUNK
from federation.types import Digest, HospitalNumber
from hospital_node.learner import ROOM
from simulation.run.options import DEFAULT_BITS

REPEATS = 9
NO_DIGEST = Digest(b"")  # of the update; only the transcript of a real round needs it
CHUNK_ELEMENTS = [1 << power for power in range(12, 20)]
PACKET_BYTES = 64
"""Header and framing of a packet of CHUNK bytes on the wire, rounded up."""

Streams = list[tuple[bytes, int]]


def run(
    params: float = 11e6, cohort: int = 5, ring: int = 32, bits: int | None = None, seed: int = 0
) -> dict[str, Any]:
    """Measure masking of `params` values at `cohort` hospitals on the complete graph.

    Args:
        params: Number of values.
        cohort: Number of hospitals, at least 2.
        ring: Bits of a sum.
        bits: Bits of a quantised value; None: the default for this ring.
        seed: Of the values.

    Returns:
        In nanoseconds per parameter: `keystream` of one hospital's `cohort` streams (its self mask
        and one for each peer) at the fastest of several chunk sizes, into one buffer; `protect`:
        clip, quantise, append the counts and mask, to wire bytes; `protect_with_tag`: the same with
        the aggregate's tag, as a hospital does it; `sum`: one upload from wire bytes into the
        coordinator's sum, beside `bare_add`, numpy's add of the same arrays; `unmask`: subtracting
        `unmask_streams` streams from the sum after one dropout (its pairwise masks and the
        survivors' self masks). `upload_bytes_per_parameter` counts all frames and packets.
        `coordinator_peak_vectors` is the most memory that a round takes at the coordinator, with
        uploads in flight and the new model, in vectors of `params` elements of 4 bytes. `exact`:
        the unmasked sum equals the sum of what the survivors quantised, bit for bit.

    Raises:
        ConfigOverflow: If (bits, ring, cohort) do not fit together.
    """
    length = int(params)
    if cohort < 2:
        raise ConfigOverflow("--cohort: masks need at least 2 hospitals")
    coding = Coding(
        bits=bits or DEFAULT_BITS.get(ring, 16),
        ring=ring,
        parties=cohort,
        lengths=(length,),
        confusion=0,
        max_examples=100_000,
        weighted=False,
    )
    given, pairs, selves = (
        _contribution(coding, seed),
        _pair_keys(cohort),
        [os.urandom(32) for _ in range(cohort)],
    )

    def streams(who: int) -> Streams:
        return [
            (selves[who], 1),
            *((key, 1 if who == pair[0] else -1) for pair, key in pairs.items() if who in pair),
        ]

    def upload(who: int) -> memoryview:
        return coding.protect(given, streams(who)).wire

    # a hospital codes in the memory that its training left the update in
    memory = np.empty(length + ROOM, np.float32)
    in_place = replace(given, update=memory[:length], memory=memory)

    def restore() -> None:
        memory[:length] = given.update

    wire = upload(0)
    accumulator, array = (
        np.zeros(coding.elements, coding.ring_type.dtype),
        coding.ring_type.from_wire(wire, coding.elements).copy(),
    )
    total = RingTotal(coding)
    message = _update(wire)
    left = _left_after_dropout(cohort, pairs, selves)
    tagger_key = os.urandom(32)
    fastest = min(
        CHUNK_ELEMENTS,
        key=lambda chunk: min(
            _cpu(lambda: _keystream(streams(0), coding, chunk)) for _ in range(3)
        ),
    )
    spent = _medians(
        {
            "keystream": lambda: _keystream(streams(0), coding, fastest),
            "protect": lambda: coding.protect(in_place, streams(0)),
            "protect_with_tag": lambda: coding.protect(
                in_place, streams(0), Tagger(tagger_key, b"bench")
            ),
            "bare_add": lambda: np.add(accumulator, array, out=accumulator),
            "sum": lambda: total.add(HospitalNumber(0), message, NO_DIGEST),
            "unmask": lambda: total.unmask(left),
        },
        before={"protect": restore, "protect_with_tag": restore},
    )
    figures: dict[str, Any] = {
        f"{name}_ns_per_parameter": value / length for name, value in spent.items()
    }
    per_stream = figures["keystream_ns_per_parameter"] / cohort
    frames = [len(frame) for frame in codec.encode(message)]
    bytes_up = sum(frames) + PACKET_BYTES * sum(-(-size // CHUNK) for size in frames)
    return {
        "params": length,
        "cohort": cohort,
        "ring": ring,
        "bits": coding.bits,
        "threads": 1,
        "keystream_chunk_elements": fastest,
        **figures,
        "unmask_streams": len(left),
        "upload_bytes_per_parameter": bytes_up / length,
        "coordinator_peak_vectors": _coordinator_peak(coding, cohort, upload(0)) / (4 * length),
        "exact": _exact(coding, cohort, given, upload, left),
        "ratios": {
            "protect_to_keystream": spent["protect"] / spent["keystream"],
            "protect_with_tag_to_keystream": spent["protect_with_tag"] / spent["keystream"],
            "sum_to_bare_add": spent["sum"] / spent["bare_add"],
            "unmask_to_keystream_of_its_streams": (
                figures["unmask_ns_per_parameter"] / (len(left) * per_stream)
            ),
            "upload_to_float32": bytes_up / (4 * length),
        },
    }


# ---- what is timed -------------------------------------------------------------------


def _keystream(streams: Streams, coding: Coding, chunk: int) -> None:
    """Generate the keystream of one vector's masks: all streams over one chunk, then the next."""
    width = coding.ring_type.dtype.itemsize
    buffer, keyed = np.empty(chunk * width, np.uint8), [Stream(key) for key, _ in streams]
    for start in range(0, coding.elements, chunk):
        piece = buffer[: min(chunk, coding.elements - start) * width]
        for stream in keyed:
            stream.read_into(piece)


def _medians(
    work: dict[str, Callable[[], Any]], before: dict[str, Callable[[], None]]
) -> dict[str, float]:
    """Return each piece of work's median nanoseconds, measured in turn after one unmeasured turn.

    `before` holds preparations, which are not measured.
    """
    times: dict[str, list[int]] = {name: [] for name in work}
    for turn in range(REPEATS + 1):
        for name, one in work.items():
            before.get(name, int)()
            spent = _cpu(one)
            if turn:
                times[name].append(spent)
    return {name: float(statistics.median(found)) for name, found in times.items()}


def _cpu(work: Callable[[], Any]) -> int:
    start = time.process_time_ns()
    work()
    return time.process_time_ns() - start


# ---- what is counted -----------------------------------------------------------------


def _coordinator_peak(coding: Coding, cohort: int, wire: memoryview) -> int:
    """Return the most bytes that a round takes beyond the model that existed before it.

    As many uploads as are granted at once lie in fresh buffers; the sum is read and applied.
    """
    layout = Layout(("vector",), ((coding.values,),))
    model = SharedModel(layout, np.zeros(coding.values, np.float32), np.full(1, 0.25, np.float32))
    config = _config(coding, cohort)
    # as many streams as one dropout leaves, nothing in all
    left = [(bytes(32), 1), (bytes(32), -1)] * (cohort - 1)
    tracemalloc.start()
    try:
        total = RingTotal(coding)
        flying: list[bytes] = []
        for who in range(cohort):
            flying.append(bytes(wire))
            if len(flying) == UPLOADS_AT_ONCE or who == cohort - 1:
                while flying:
                    total.add(HospitalNumber(who), _update(flying.pop(0)), NO_DIGEST)
        # what a real sum's values are, the masks of this one are not: only memory counts here
        total.elements[:] = 0
        total.unmask(left)
        aggregate = Aggregate(
            round=1,
            survivors=tuple(map(HospitalNumber, range(cohort))),
            transcript=None,
            signers=(),
            signatures=(),
            tag=None,
            buffers=total.wire(),
        )
        model.apply(total.read(aggregate), coding, config, 1)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def _exact(
    coding: Coding,
    cohort: int,
    given: Contribution,
    upload: Callable[[int], memoryview],
    left: Streams,
) -> bool:
    """Check the sum of all uploads but the last hospital's; each codes the same known integers."""
    total = RingTotal(coding)
    for who in range(cohort - 1):
        total.add(HospitalNumber(who), _update(upload(who)), NO_DIGEST)
    total.unmask(left)
    ring = coding.ring_type
    found = ring.signed(ring.from_wire(total.wire()[0], coding.elements))
    return bool(np.array_equal(found, coding.integers(given)[0].astype(np.int64) * (cohort - 1)))


def _left_after_dropout(
    cohort: int, pairs: dict[tuple[int, int], bytes], selves: list[bytes]
) -> Streams:
    """Return the streams that remain in the survivors' sum, with the signs that remove them."""
    gone = cohort - 1
    return [
        *((selves[who], -1) for who in range(gone)),
        *((pairs[who, gone], -1) for who in range(gone)),
    ]


# ---- stand-ins -----------------------------------------------------------------------


def _contribution(coding: Coding, seed: int) -> Contribution:
    update: NDArray[np.float32] = (
        np.random.default_rng(seed).normal(0, 0.05, coding.values).astype(np.float32)
    )
    return Contribution(update, 100, 10, (), np.full(1, 0.25, np.float32), bytes(range(32)))


def _pair_keys(cohort: int) -> dict[tuple[int, int], bytes]:
    return {(low, high): os.urandom(32) for high in range(cohort) for low in range(high)}


def _update(wire: bytes | memoryview) -> Update:
    return Update(round=1, tag=bytes(8), signature=None, buffers=(wire,))


def _config(coding: Coding, cohort: int) -> FederationConfig:
    return validate(
        FederationConfig(
            federation=Rounds(cohort=cohort, min_cohort=1),
            model=Model(classes=("a", "b"), start_digest="0" * 64),
            protection=Protection(
                bits=coding.bits,
                ring=coding.ring,  # type: ignore[arg-type]  # an int; `validate` refuses other ones
            ),
        )
    )
