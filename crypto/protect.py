"""A hospital's masking in one pass over its update: clip, quantise, counts, tag, masks, wire."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from crypto import limbs
from crypto.errors import OutOfRange
from crypto.fixedpoint import FixedPoint, Floats, Quantiser, check_values
from crypto.keystream import CHUNK, Masks
from crypto.ring import Ring
from crypto.tag import Tagger


@dataclass(frozen=True)
class Protected:
    """The masked vector's bytes, and how many values were clipped.

    `clipped` is also the last count in the vector.
    """

    wire: memoryview
    clipped: int


def quantise_and_mask(
    update: Floats,
    clip: ArrayLike,
    fixed: FixedPoint,
    rounding_key: bytes,
    streams: Iterable[tuple[bytes, int]],
    *,
    lengths: Sequence[int] | None = None,
    counts: Sequence[int] = (),
    tagger: Tagger | None = None,
    out: NDArray[np.uint8] | None = None,
) -> Protected:
    """Return the masked vector: d values, the limbs of `counts`, the limbs of the clip count.

    The result equals quantising, appending, masking and packing one after another, but touches
    every byte of memory once.

    Args:
        update: float32[d].
        clip: As for `FixedPoint.quantise`.
        fixed: Bits and ring.
        rounding_key: As for `FixedPoint.quantise`.
        streams: (key, sign) each, as for `keystream.apply`. Without a stream there is no mask.
        lengths: As for `FixedPoint.quantise`.
        counts: Numbers below 2^48.
        tagger: Receives every element before it is masked.
        out: Where the wire bytes go, uint8 of exactly their number; by default a fresh array. It
            may begin at the update's own first byte (rings up to 32 bits). The update is then
            overwritten, which saves a tenth of the time and leaves no unmasked copy behind.

    Raises:
        OutOfRange: As `FixedPoint.quantise` and `limbs.encode` do, and if `out` does not fit.
    """
    check_values(update)
    ring, d = Ring(fixed.ring), len(update)
    quantiser = Quantiser(fixed, clip, rounding_key, d, lengths)
    limbs.encode(counts, fixed.bits)  # refused before anything is masked
    masks = Masks(streams, ring)
    total = d + (len(counts) + 1) * limbs.limbs_needed(fixed.bits)
    wire = _output(out, total * ring.wire_bytes, update, ring)
    plain = np.empty(CHUNK, np.int32)
    held = np.empty(CHUNK, ring.dtype)
    tail = None

    for start in range(0, total, CHUNK):
        stop = min(start + CHUNK, total)
        target = wire[start * ring.wire_bytes : stop * ring.wire_bytes]
        chunk = held[: stop - start] if ring.packed else target.view(ring.dtype)
        as_wide = ring.dtype.itemsize == 4
        integers = chunk.view(np.int32) if as_wide else plain[: stop - start]

        values = max(0, min(stop, d) - start)
        if values:
            quantiser.next(update[start : start + values], integers[:values])
        if stop > d:
            if tail is None:  # all values are quantised: the number of clipped ones is final
                tail = limbs.encode([*counts, quantiser.clipped], fixed.bits)
            integers[values:] = tail[start + values - d : stop - d]
        if tagger is not None:
            tagger.update(integers)
        if not as_wide:
            np.copyto(chunk, integers, casting="unsafe")  # modulo 2^16, or sign-extended to 64 bits
        masks.add_to(chunk)
        if ring.packed:
            ring.pack_into(target, chunk)
    return Protected(wire.data, quantiser.clipped)


def _output(
    out: NDArray[np.uint8] | None, size: int, update: Floats, ring: Ring
) -> NDArray[np.uint8]:
    if out is None:
        return np.empty(size, np.uint8)
    if (
        out.dtype != np.uint8
        or out.shape != (size,)
        or not out.flags.c_contiguous
        or not out.flags.writeable
    ):
        raise OutOfRange(
            f"the masked vector needs a writable uint8[{size}], not {out.dtype}{out.shape}"
        )
    if np.may_share_memory(out, update) and (
        ring.wire_bytes > 4 or out.ctypes.data != update.ctypes.data
    ):
        raise OutOfRange(
            "the masked vector may overwrite the update only from its first byte on, and in a ring"
            " of at most 32 bits"
        )
    return out
