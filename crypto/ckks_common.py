"""What federated CKKS commonly costs: TenSEAL's `ckks_vector`, for the benchmark only.

Nothing in the product uses it: its sums are approximate, and its blobs are loaded unchecked.
"""

from typing import Any

import numpy as np
import tenseal as ts
from numpy.typing import NDArray


class CommonSettings:
    """NVFlare's settings: N = 8192, primes of [60, 40, 40] bits, scale 2^40, symmetric, one vector
    for each tensor.
    """

    def __init__(self) -> None:
        self._context = ts.context(
            ts.SCHEME_TYPE.CKKS,
            poly_modulus_degree=8192,
            coeff_mod_bit_sizes=[60, 40, 40],
            encryption_type=ts.ENCRYPTION_TYPE.SYMMETRIC,
        )
        self._context.global_scale = 2.0**40

    def encrypt(self, values: NDArray[np.float32]) -> bytes:
        """Return the wire bytes of one tensor, flat."""
        return bytes(ts.ckks_vector(self._context, values.tolist()).serialize())

    def load(self, blob: bytes) -> Any:
        """Return a vector that `+=` adds to."""
        return ts.ckks_vector_from(self._context, blob)

    def save(self, vector: Any) -> bytes:
        return bytes(vector.serialize())

    def decrypt(self, blob: bytes) -> NDArray[np.float64]:
        return np.array(self.load(blob).decrypt(), np.float64)
