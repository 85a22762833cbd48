"""The integers modulo 2^16, 2^24, 2^32 or 2^64: how their elements lie in memory and on the wire.

Modulo 2^16, 2^32 and 2^64 the wire is the array, little-endian, and nothing is copied.

Modulo 2^24 an element is held as uint32 (its top byte means nothing until `reduce`) and takes three
bytes on the wire. Byte triples are slow to take apart, so four elements share three 32-bit words
instead: of every `BLOCK` elements, split into four equal quarters, the words are the first three
quarters, and the top bytes of the three words at one place are the low, middle and high byte of the
fourth quarter's element there. A last block that is short has its quarters shorter; the up to three
elements that remain are plain little-endian byte triples. Hence n elements take exactly 3 n bytes,
and slices of the wire that begin and end at multiples of `BLOCK` elements stand alone.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crypto.errors import ConfigOverflow, OutOfRange

Buffer = bytes | bytearray | memoryview
Elements = NDArray[Any]  # of the ring's dtype

BLOCK = 1 << 16
_DTYPES = {16: "<u2", 24: "<u4", 32: "<u4", 64: "<u8"}
_LOW_24 = np.uint32(0xFFFFFF)


@dataclass(frozen=True)
class Ring:
    """The ring of integers modulo 2^bits.

    Args:
        bits: 16, 24, 32 or 64.

    Raises:
        ConfigOverflow: If `bits` is another number.
    """

    bits: int

    def __post_init__(self) -> None:
        if self.bits not in _DTYPES:
            raise ConfigOverflow(f"ring = {self.bits}: a ring has 16, 24, 32 or 64 bits")

    @property
    def modulus(self) -> int:
        return 1 << self.bits

    @property
    def dtype(self) -> np.dtype[Any]:
        """The dtype of an element: uint16, uint32 (also for 24 bits) or uint64, little-endian."""
        return np.dtype(_DTYPES[self.bits])

    @property
    def wire_bytes(self) -> int:
        """Bytes per element on the wire; n elements take exactly n times as many."""
        return self.bits // 8

    @property
    def packed(self) -> bool:
        """True if the wire has another layout than the array in memory (24 bits only)."""
        return self.bits == 24

    def to_wire(self, array: Elements) -> memoryview:
        """Return the wire bytes: a view of the array, or for 24 bits a fresh buffer.

        Raises:
            OutOfRange: If the array is not flat, contiguous and of the ring's dtype.
        """
        self.check(array)
        if not self.packed:
            return array.view(np.uint8).data
        wire = np.empty(len(array) * 3, np.uint8)
        self.pack_into(wire, array)
        return wire.data

    def from_wire(self, buffer: Buffer, count: int) -> Elements:
        """Return the `count` elements in `buffer`: a (maybe read-only) view, or for 24 bits a copy.

        Raises:
            OutOfRange: If the buffer has another length.
        """
        wire = self._bytes(buffer, count)
        if not self.packed:
            return wire.view(self.dtype)
        array = np.zeros(count, self.dtype)
        self.add_into(array, buffer)
        self.reduce(array)
        return array

    def add_into(self, accumulator: Elements, wire_buffer: Buffer) -> None:
        """Add the elements on the wire to the accumulator, in place and modulo 2^bits.

        Raises:
            OutOfRange: If the buffer does not hold as many elements as the accumulator; nothing is
                changed then.
        """
        self.check(accumulator)
        wire = self._bytes(wire_buffer, len(accumulator))
        if not self.packed:
            np.add(accumulator, wire.view(self.dtype), out=accumulator)
            return
        for start in range(0, len(accumulator), BLOCK):
            _add_block(accumulator[start : start + BLOCK], wire[3 * start : 3 * (start + BLOCK)])

    def pack_into(self, wire: NDArray[np.uint8], array: Elements) -> None:
        """Write the elements' wire bytes into uint8[len(array) * wire_bytes]."""
        if not self.packed:
            wire.view(self.dtype)[:] = array
            return
        for start in range(0, len(array), BLOCK):
            _pack_block(wire[3 * start : 3 * (start + BLOCK)], array[start : start + BLOCK])

    def reduce(self, array: Elements) -> None:
        """Replace every element by its representative in 0..2^bits - 1, in place.

        Only 24 bits need it, before elements are compared or printed.
        """
        if self.packed:
            np.bitwise_and(array, _LOW_24, out=array)

    def signed(self, array: Elements) -> NDArray[Any]:
        """Return the representatives in -2^(bits-1)..2^(bits-1) - 1: int32, for 64 bits int64.

        The result is a view if the width allows it.
        """
        self.check(array)
        if self.bits == 16:
            return array.view("<i2").astype(np.int32)
        if self.bits == 24:
            shifted: NDArray[Any] = np.left_shift(array, 8).view("<i4")
            np.right_shift(shifted, 8, out=shifted)
            return shifted
        view: NDArray[Any] = array.view(f"<i{self.bits // 8}")
        return view

    def check(self, array: Elements) -> None:
        """Raise OutOfRange unless `array` is a flat, contiguous array of the ring's dtype."""
        if array.dtype != self.dtype or array.ndim != 1 or not array.flags.c_contiguous:
            raise OutOfRange(
                f"the ring of {self.bits} bits needs a flat array of {self.dtype}, not"
                f" {array.dtype}{array.shape}"
            )

    def _bytes(self, buffer: Buffer, count: int) -> NDArray[np.uint8]:
        wire = np.frombuffer(buffer, np.uint8)
        if len(wire) != count * self.wire_bytes:
            raise OutOfRange(
                f"{count} elements of {self.bits} bits take {count * self.wire_bytes} bytes, not"
                f" {len(wire)}"
            )
        return wire


def _add_block(block: NDArray[np.uint32], wire: NDArray[np.uint8]) -> None:
    """Add at most BLOCK 24-bit elements; the top bytes in memory then hold meaningless carries."""
    quarter = len(block) // 4
    words = wire[: 12 * quarter].view("<u4")
    whole, fourth = block[: 3 * quarter], block[3 * quarter : 4 * quarter]
    np.add(whole, words, out=whole)  # the words' own top bytes land in top bytes
    tops = np.right_shift(words[2 * quarter :], np.uint32(24))
    for part in (words[quarter : 2 * quarter], words[:quarter]):
        np.left_shift(tops, np.uint32(8), out=tops)
        np.bitwise_or(tops, np.right_shift(part, np.uint32(24)), out=tops)
    np.add(fourth, tops, out=fourth)
    for i in range(4 * quarter, len(block)):
        block[i : i + 1] += np.frombuffer(wire[3 * i : 3 * i + 3].tobytes() + b"\0", "<u4")


def _pack_block(wire: NDArray[np.uint8], block: NDArray[np.uint32]) -> None:
    quarter = len(block) // 4
    words = wire[: 12 * quarter].view("<u4")
    np.bitwise_and(block[: 3 * quarter], _LOW_24, out=words)
    fourth = block[3 * quarter : 4 * quarter]
    for k in range(3):
        part = words[k * quarter : (k + 1) * quarter]
        # byte k of the element becomes the top byte
        top = np.left_shift(fourth, np.uint32(24 - 8 * k))
        np.bitwise_and(top, np.uint32(0xFF000000), out=top)
        np.bitwise_or(part, top, out=part)
    if rest := len(block) % 4:
        wire[-3 * rest :] = block[-rest:].view(np.uint8).reshape(rest, 4)[:, :3].reshape(-1)
