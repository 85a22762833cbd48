"""How an update becomes integers and a sum becomes a mean again: one code for every protection.

The coded vector is `[d quantised values | limbs of the counts]`, so that counts reach the
coordinator only as sums.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crypto import limbs
from crypto.errors import OutOfRange
from crypto.fixedpoint import FixedPoint
from crypto.protect import Protected, quantise_and_mask
from crypto.ring import Ring
from crypto.tag import Tagger
from federation.config import FederationConfig
from federation.layout import Layout, Vector

MOST_CLASSES_COUNTED = 32
"""Above this a confusion matrix would cost more than small models do, and is left out."""


@dataclass(frozen=True, repr=False)
class Contribution:
    """One hospital's round before it is coded.

    `update` float32[d] = local − global; `examples` and `steps` of the training; `confusion`: its
    local test's counts, row by row (true class), of the model before this round; `clips` float32,
    one per tensor; `rounding_key`: 32 bytes that only this hospital knows.

    `memory`: if given, the float32 array that `update` is the beginning of, with room for the
    counts behind it. A protection then codes in place: the update is overwritten, no clear copy of
    it is left, and no fresh memory is touched.
    """

    update: Vector
    examples: int
    steps: int
    confusion: tuple[int, ...]
    clips: Vector
    rounding_key: bytes
    memory: Vector | None = None


@dataclass(frozen=True)
class Sum:
    """What a round gives: the sum over the survivors of values (integers, or float32 where bits is
    0) and of counts.
    """

    values: NDArray[Any]
    survivors: int
    examples: int
    steps: int
    confusion: tuple[int, ...]
    clipped: int


@dataclass(frozen=True)
class Coding:
    """`bits` per value (0: float32), `ring` bits per sum, `parties` whose sum must fit, the
    tensors' `lengths`.
    """

    bits: int
    ring: int
    parties: int
    lengths: tuple[int, ...]
    confusion: int
    max_examples: int
    weighted: bool

    @classmethod
    def of(cls, config: FederationConfig, layout: Layout) -> Coding:
        classes = len(config.model.classes)
        return cls(
            bits=config.protection.bits,
            ring=config.protection.ring,
            parties=config.federation.cohort,
            lengths=layout.lengths,
            confusion=classes * classes if classes <= MOST_CLASSES_COUNTED else 0,
            max_examples=config.protection.max_examples,
            weighted=config.federation.weighting == "examples",
        )

    @cached_property
    def values(self) -> int:
        """d: the number of shared parameters."""
        return sum(self.lengths)

    @property
    def how_many_counts(self) -> int:
        """Examples, steps, the confusion matrix, and clipped values at the end."""
        return 3 + self.confusion

    @cached_property
    def elements(self) -> int:
        """Length of the coded vector: d and the counts' limbs."""
        return self.values + self.how_many_counts * limbs.limbs_needed(self.bits)

    @cached_property
    def ring_type(self) -> Ring:
        return Ring(self.ring)

    @property
    def wire_bytes(self) -> int:
        """Bytes of one coded vector on the wire."""
        return self.elements * (self.ring // 8 if self.bits else 4)

    @cached_property
    def fixed_point(self) -> FixedPoint:
        """How one value becomes an integer, and back."""
        return FixedPoint(self.bits, self.ring, self.parties)

    def protect(
        self,
        given: Contribution,
        streams: Iterable[tuple[bytes, int]] = (),
        tagger: Tagger | None = None,
    ) -> Protected:
        """Clip, quantise, append the counts, tag and mask in one pass: the wire bytes. No stream,
        no mask.

        Raises OutOfRange for NaN, infinity, wrong lengths, or more examples than `max_examples`
        under weighting.
        """
        update, counts = self._weighted(given), self._counts(given)
        if self.bits:
            return quantise_and_mask(
                update,
                given.clips,
                self.fixed_point,
                given.rounding_key,
                streams,
                lengths=self.lengths,
                counts=counts,
                tagger=tagger,
                out=self._in_place(given),
            )
        if not np.isfinite(update).all():
            raise OutOfRange("the update holds NaN or infinity")
        whole = np.concatenate([update, limbs.encode([*counts, 0], 0).astype(np.float32)]).astype(
            "<f4"
        )
        return Protected(whole.view(np.uint8).data, 0)

    def _in_place(self, given: Contribution) -> NDArray[np.uint8] | None:
        """Where the wire bytes may overwrite the update, or None."""
        if given.memory is None or self.weighted or given.memory.nbytes < self.wire_bytes:
            return None
        whole: NDArray[np.uint8] = given.memory.view(np.uint8)[: self.wire_bytes]
        return whole

    def integers(self, given: Contribution) -> tuple[NDArray[np.int32], int]:
        """The coded vector itself, int32[elements], and the number of clipped values. Raises
        OutOfRange as `protect` does.
        """
        update, counts = self._weighted(given), self._counts(given)
        values, clipped = self.fixed_point.quantise(
            update, given.clips, given.rounding_key, self.lengths
        )
        return np.concatenate([values, limbs.encode([*counts, clipped], self.bits)]), clipped

    def check(self, given: Contribution) -> None:
        """Raises OutOfRange where `protect` would for the counts, so that their owner hears of it
        before any key is made.
        """
        limbs.encode(self._counts(given), self.bits)
        self._check_weight(given)

    def _counts(self, given: Contribution) -> list[int]:
        if len(given.confusion) != self.confusion:
            raise OutOfRange(
                f"{self.confusion} confusion counts are needed, got {len(given.confusion)}"
            )
        return [given.examples, given.steps, *given.confusion]

    def _weighted(self, given: Contribution) -> Vector:
        if given.update.shape != (self.values,):
            raise OutOfRange(
                f"an update of {self.values} elements is needed, got {given.update.shape}"
            )
        if not self.weighted:
            return given.update
        self._check_weight(given)
        return given.update * np.float32(given.examples / self.max_examples)

    def _check_weight(self, given: Contribution) -> None:
        if self.weighted and not 0 < given.examples <= self.max_examples:
            raise OutOfRange(
                f"{given.examples} examples; weighting takes 1 to protection.max_examples ="
                f" {self.max_examples}"
            )

    def decode(self, total: NDArray[Any], survivors: int) -> Sum:
        """Split a decoded (signed) sum. Raises OutOfRange where it is not a sum of `survivors`
        coded vectors.
        """
        if total.shape != (self.elements,):
            raise OutOfRange(f"a sum of {self.elements} elements is needed, got {total.shape}")
        values = total[: self.values]
        if self.bits:
            self.fixed_point.check_sum(values, survivors)
        elif not np.isfinite(total).all():
            raise OutOfRange("the sum holds NaN or infinity")
        counts = limbs.decode(total[self.values :], self.bits, self.how_many_counts)
        if self.weighted and not survivors <= counts[0] <= survivors * self.max_examples:
            raise OutOfRange(
                f"{survivors} hospitals cannot have {counts[0]} examples, with"
                f" protection.max_examples = {self.max_examples}"
            )
        return Sum(values, survivors, counts[0], counts[1], tuple(counts[2:-1]), counts[-1])

    def mean(self, total: Sum, clips: Vector) -> Vector:
        """float32[d]: the mean update, weighted where the config says so. Raises OutOfRange where
        no examples are there.
        """
        divisor = total.examples / self.max_examples if self.weighted else float(total.survivors)
        if divisor <= 0:
            raise OutOfRange("the survivors hold no examples")
        if self.bits == 0:
            mean: Vector = np.divide(total.values, np.float32(divisor), dtype=np.float32)
            return mean
        return self.fixed_point.dequantise_mean(total.values, clips, divisor, self.lengths)
