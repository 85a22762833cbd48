"""An update as signed fixed-point integers, rounded at random so that the mean is unbiased.

A value x with clip c becomes an integer in -levels..levels, levels = 2^(bits-1) - 1: floor(x / c *
levels + u), u uniform in [0, 1). The same update, clip and rounding key give the same integers on
every processor: all steps are elementwise float32 or int32 numpy operations in one order, with
nothing for a compiler to fuse or to reorder.

How fine the randomness is: x * (levels / c) is rounded to the nearest 1/256 of a step, and u is a
uniform multiple of 1/256, one keystream byte per element. The expectation is therefore x / c *
levels within 1/512 of a step, to either side alike, and within float32's own relative error of 5 *
2^-24; the result is less than a step away, but for the same float32 error. Up to 13 bits a value on
the grid (`dequantise_mean` of an integer k) always stays what it is; with more bits it moves by a
step with a probability of at most |k| * 5 * 2^-24 + 1/512.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from crypto.errors import ConfigOverflow, OutOfRange
from crypto.keystream import CHUNK, Stream
from crypto.ring import Ring

Floats = NDArray[np.float32]
Ints = NDArray[np.int32]
MAX_BITS = 24  # what a float32 holds
_FRACTION_BITS = 8


@dataclass(frozen=True)
class FixedPoint:
    """Values of `bits` bits, and sums of at most `parties` of them modulo 2^ring.

    Args:
        bits: Of one value, 2 to 24.
        ring: Bits of a sum; at least bits + ceil(log2(parties)).
        parties: How many values are summed at most.

    Raises:
        ConfigOverflow: If the sum could wrap.
    """

    bits: int
    ring: int
    parties: int

    def __post_init__(self) -> None:
        Ring(self.ring)
        if not 2 <= self.bits <= MAX_BITS:
            raise ConfigOverflow(f"bits = {self.bits}: a quantised value has 2 to {MAX_BITS} bits")
        if self.parties < 1:
            raise ConfigOverflow("a sum needs at least one party")
        headroom = (self.parties - 1).bit_length()
        if self.ring < self.bits + headroom:
            raise ConfigOverflow(
                f"bits = {self.bits} and {self.parties} hospitals need a ring of"
                f" {self.bits + headroom} bits, not {self.ring}: take a larger ring or fewer bits"
            )

    @property
    def levels(self) -> int:
        """The largest quantised value, 2^(bits-1) - 1; it stands for the clip."""
        return (1 << (self.bits - 1)) - 1

    def quantise(
        self,
        values: Floats,
        clip: ArrayLike,
        rounding_key: bytes,
        lengths: Sequence[int] | None = None,
    ) -> tuple[Ints, int]:
        """Quantise an update.

        Args:
            values: float32[d].
            clip: One positive number, or one for each tensor if `lengths` is given.
            rounding_key: 32 bytes that determine the random rounding.
            lengths: How many values each tensor has.

        Returns:
            int32[d], and how many values lay outside their clip and were moved to it.

        Raises:
            OutOfRange: If a value is NaN or infinite, the dtype or shape is wrong, or a clip is not
                positive.
        """
        check_values(values)
        quantiser = Quantiser(self, clip, rounding_key, len(values), lengths)
        result = np.empty(len(values), np.int32)
        for start in range(0, len(values), CHUNK):
            quantiser.next(values[start : start + CHUNK], result[start : start + CHUNK])
        return result, quantiser.clipped

    def check_sum(self, total: NDArray[Any], survivors: int) -> None:
        """Raise OutOfRange if an element cannot be the sum of `survivors` quantised values."""
        bound = survivors * self.levels
        if len(total) and (int(total.max()) > bound or int(total.min()) < -bound):
            raise OutOfRange(
                f"the sum leaves the range of {survivors} hospitals, -{bound} to {bound}"
            )

    def dequantise_mean(
        self,
        total: NDArray[Any],
        clip: ArrayLike,
        weight: float,
        lengths: Sequence[int] | None = None,
    ) -> Floats:
        """Return total * clip / (levels * weight) as float32[d].

        It is the mean if `weight` is the number of survivors. The result is the same on every
        processor: float64 elementwise, rounded once.

        Raises:
            OutOfRange: If the weight or a clip is not positive.
        """
        if not (weight > 0 and math.isfinite(weight)):
            raise OutOfRange(f"a mean needs a positive weight, not {weight}")
        result = np.empty(len(total), np.float32)
        for start, stop, one_clip in segments(clip, len(total), lengths):
            factor = one_clip / (self.levels * float(weight))
            for at in range(start, stop, CHUNK):
                piece = slice(at, min(at + CHUNK, stop))
                result[piece] = np.multiply(total[piece], factor, dtype=np.float64)
        return result


def check_values(values: NDArray[Any]) -> None:
    """Raise OutOfRange unless `values` is a flat, contiguous array of float32."""
    if values.dtype != np.float32 or values.ndim != 1 or not values.flags.c_contiguous:
        raise OutOfRange(f"an update is a flat array of float32, not {values.dtype}{values.shape}")


def segments(
    clip: ArrayLike, count: int, lengths: Sequence[int] | None
) -> list[tuple[int, int, float]]:
    """Return (start, stop, clip) of each run of values with one clip.

    Raises:
        OutOfRange: If clips and lengths do not fit `count` values.
    """
    clips = np.atleast_1d(np.asarray(clip, np.float32))
    parts = [count] if lengths is None else [int(length) for length in lengths]
    if clips.shape == (1,):
        parts = [sum(parts)]
    if (
        clips.ndim != 1
        or len(clips) != len(parts)
        or sum(parts) != count
        or any(part < 0 for part in parts)
    ):
        raise OutOfRange(
            f"{clips.size} clips for tensors of {sum(parts)} values in all do not fit a vector of"
            f" {count}"
        )
    if not (np.isfinite(clips).all() and (clips > 1e-28).all() and (clips < 1e28).all()):
        raise OutOfRange("a clip is a positive finite number")
    runs: list[tuple[int, int, float]] = []
    at = 0
    for length, one in zip(parts, clips.tolist(), strict=True):
        if runs and runs[-1][2] == one:
            runs[-1] = (runs[-1][0], at + length, one)
        elif length:
            runs.append((at, at + length, one))
        at += length
    return runs


class Quantiser:
    """Quantises a vector of `count` values chunk by chunk; `clipped` counts the clipped ones."""

    def __init__(
        self,
        fixed: FixedPoint,
        clip: ArrayLike,
        rounding_key: bytes,
        count: int,
        lengths: Sequence[int] | None = None,
    ) -> None:
        self.clipped = 0
        self._top = np.float32(fixed.levels << _FRACTION_BITS)
        runs = segments(clip, count, lengths)
        self._runs = [(stop, _scale(self._top, np.float32(one))) for _, stop, one in runs]
        self._run = self._at = 0
        self._stream = Stream(rounding_key)
        self._scaled = np.empty(CHUNK, np.float32)
        self._noise = np.empty(CHUNK, np.uint8)

    def next(self, values: Floats, out: Ints) -> None:
        """Quantise the next len(values) <= CHUNK values into `out`.

        Raises:
            OutOfRange: If a value is NaN or infinite.
        """
        scaled, noise = self._scaled[: len(values)], self._noise[: len(values)]
        done = 0
        while done < len(values):
            stop, scale = self._runs[self._run]
            size = min(stop - self._at, len(values) - done)
            self._scale_into(scaled[done : done + size], values[done : done + size], scale)
            done += size
            self._at += size
            self._run += self._at == stop
        np.rint(scaled, out=scaled)
        wide = scaled.view(np.int32)  # the same scratch memory, free again after the next line
        np.copyto(out, scaled, casting="unsafe")  # whole numbers below 2^31: exact
        self._stream.read_into(noise)
        np.copyto(wide, noise)
        np.add(out, wide, out=out)
        np.right_shift(out, _FRACTION_BITS, out=out)  # arithmetic: floor

    def _scale_into(self, out: Floats, values: Floats, scale: np.float32) -> None:
        with np.errstate(over="ignore", invalid="ignore"):
            np.multiply(values, scale, out=out)
            if out.min() >= -self._top and out.max() <= self._top:  # NaN is neither
                return
        outside = np.flatnonzero(~(np.abs(out) <= self._top))
        if not np.isfinite(values[outside]).all():
            raise OutOfRange("the update holds NaN or infinity")
        out[outside] = np.copysign(self._top, values[outside])
        self.clipped += len(outside)


def _scale(top: np.float32, clip: np.float32) -> np.float32:
    """Return top / clip in float32, rounded so that clip itself never exceeds top."""
    scale = top / clip
    while clip * scale > top:
        scale = np.nextafter(scale, np.float32(0))
    return np.float32(scale)
