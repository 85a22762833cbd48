"""The agreed layout of the shared parameters: names, shapes and order. Shapes never come from a
peer.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import prod

import numpy as np
from numpy.typing import NDArray

from crypto.kdf import digest

Vector = NDArray[np.float32]


@dataclass(frozen=True)
class Layout:
    """Shared tensors in their fixed order. A vector is their concatenation, row-major, d = `size`
    float32 elements.
    """

    names: tuple[str, ...]
    shapes: tuple[tuple[int, ...], ...]

    @classmethod
    def of(cls, tensors: Mapping[str, NDArray[np.float32]], names: Sequence[str]) -> Layout:
        return cls(
            tuple(names), tuple(tuple(int(n) for n in tensors[name].shape) for name in names)
        )

    @cached_property
    def lengths(self) -> tuple[int, ...]:
        return tuple(prod(shape) for shape in self.shapes)

    @cached_property
    def size(self) -> int:
        return sum(self.lengths)

    @cached_property
    def digest(self) -> bytes:
        return digest(
            "layout",
            *(f"{name}:{shape}" for name, shape in zip(self.names, self.shapes, strict=True)),
        )

    def flatten(self, tensors: Mapping[str, NDArray[np.float32]]) -> Vector:
        """One float32 vector of `size` elements. Raises ValueError if a name or a shape differs."""
        parts = []
        for name, shape in zip(self.names, self.shapes, strict=True):
            tensor = tensors.get(name)
            if tensor is None or tuple(tensor.shape) != shape:
                raise ValueError(
                    f"layout: {name} should be {shape}, is"
                    f" {None if tensor is None else tuple(tensor.shape)}"
                )
            parts.append(np.ascontiguousarray(tensor, dtype=np.float32).reshape(-1))
        return np.concatenate(parts) if parts else np.zeros(0, np.float32)

    def unflatten(self, vector: Vector) -> dict[str, NDArray[np.float32]]:
        """Views into `vector`, by name. Raises ValueError on a wrong length."""
        if vector.shape != (self.size,):
            raise ValueError(
                f"layout: a vector of {self.size} elements is needed, got {vector.shape}"
            )
        tensors, at = {}, 0
        for name, shape, length in zip(self.names, self.shapes, self.lengths, strict=True):
            tensors[name] = vector[at : at + length].reshape(shape)
            at += length
        return tensors
