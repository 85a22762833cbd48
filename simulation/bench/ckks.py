"""`flop bench ckks`: encrypted sums beside the common settings and beside `masked+ckks`, one
thread, in one run.

`common` is TenSEAL's `ckks_vector` with N = 8192, [60, 40, 40], scale 2^40, symmetric, one vector
for each tensor of ResNet18's shapes. Times are CPU time of this process, so that another process on
the machine does not count.
"""

from __future__ import annotations

import ctypes
import io
import math
import os
import statistics
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, redirect_stdout
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crypto import keystream
from crypto.ckks import Adder, Encryptor, generate_secret_key
from crypto.ckks_common import CommonSettings
from crypto.packing import Packing
from crypto.ring import Ring

CLIP = 0.05
WORDS = Ring(64)
DECRYPTIONS = 5


def run(params: float, cohort: int, bits: int = 16, seed: int = 0) -> dict[str, Any]:
    """Measure one protected sum of `params` values from `cohort` hospitals, computed three ways.

    Args:
        params: Number of values.
        cohort: Number of hospitals.
        bits: Bits of a quantised value.
        seed: Of the values.

    Returns:
        At the top level the figures of protection `ckks`; the same keys below `masked+ckks` and
        `common`. `encrypt_ns_per_parameter` takes one hospital's quantised vector to wire bytes,
        `add_ns_per_parameter` one upload from wire bytes into the sum, `decrypt_ns_per_parameter`
        the sum from wire bytes to numbers; each is the median over hospitals (for decrypting over
        five repetitions). Under `masked+ckks` encrypting includes drawing the pairwise masks and
        the self mask, and `unmask_ns_per_parameter` is the coordinator's work, once a round, to
        subtract every self mask from the sum. Bytes are per parameter; float32 takes 4. `exact`:
        the decoded sum equals the true integer sum (for `common` the true float32 sum) bit for bit.
        `ratios` holds the figures that tests bound; `masked_seconds_to_ckks` compares whole rounds
        with all parties on one core.

    Raises:
        ConfigOverflow: If (bits, cohort) has no exact encoding.
    """
    length = int(params)
    sides = {
        "ckks": _Side(length, cohort, bits, masked=False),
        "masked+ckks": _Side(length, cohort, bits, masked=True),
    }
    for me in range(cohort):  # in turn, so that a busy machine slows both
        values = _values(length, bits, seed + me)
        for side in sides.values():
            side.upload(me, values)
    for _ in range(DECRYPTIONS):
        for side in sides.values():
            side.decrypt()
    plain, masked = (side.figures() for side in sides.values())
    with _without_chatter():
        common = _common(length, cohort, bits, seed)
    seconds = [
        cohort * sum(side[f"{what}_ns_per_parameter"] for what in ("encrypt", "add", "decrypt"))
        for side in (plain, masked)
    ]
    return {
        "params": length,
        "cohort": cohort,
        "bits": bits,
        "threads": 1,
        **plain,
        "common": common,
        "masked+ckks": masked,
        "ratios": {
            "upload_to_float32": plain["upload_bytes_per_parameter"] / 4,
            "download_to_float32": plain["download_bytes_per_parameter"] / 4,
            "encrypt_to_common": (
                plain["encrypt_ns_per_parameter"] / common["encrypt_ns_per_parameter"]
            ),
            "add_to_common": plain["add_ns_per_parameter"] / common["add_ns_per_parameter"],
            "masked_upload_to_ckks": (
                masked["upload_bytes_per_parameter"] / plain["upload_bytes_per_parameter"]
            ),
            "masked_seconds_to_ckks": (seconds[1] + masked["unmask_ns_per_parameter"]) / seconds[0],
        },
    }


class _Side:
    """One sum under `ckks` or `masked+ckks`, and the time that each party spends on it."""

    def __init__(self, length: int, cohort: int, bits: int, masked: bool) -> None:
        self.length, self.packing = length, Packing(bits, cohort, masked)
        self.hospital = Encryptor(generate_secret_key(self.packing), self.packing)
        self.adder = Adder(self.packing, length)
        self.pair_keys = {(i, j): os.urandom(32) for j in range(cohort) for i in range(j)}
        self.self_keys = [os.urandom(32) for _ in range(cohort)]
        self.truth = np.zeros(length, np.int64)
        self.encrypting: list[int] = []
        self.adding: list[int] = []
        self.decrypting: list[int] = []
        self.unmasking = self.uploaded = 0
        self.result: list[bytes] = []
        self.exact = True

    def upload(self, me: int, values: NDArray[np.int32]) -> None:
        self.truth += values
        spent, blobs = _timed(lambda: self._encrypt(me, values))
        self.encrypting.append(spent)
        self.uploaded = sum(map(len, blobs))
        self.adding.append(_timed(lambda: self.adder.add(blobs))[0])

    def _encrypt(self, me: int, values: NDArray[np.int32]) -> list[bytes]:
        parts = self.packing.pack(values)
        if self.packing.masked:
            streams = [(self.self_keys[me], 1)]
            streams += [
                (key, 1 if me == pair[0] else -1)
                for pair, key in self.pair_keys.items()
                if me in pair
            ]
            parts = self._masked(parts, streams)
        return self.hospital.encrypt(parts)

    def _masked(
        self, parts: NDArray[np.int64], streams: Iterable[tuple[bytes, int]]
    ) -> NDArray[np.int64]:
        """Add or subtract a word of every stream, as federation/protections/masked_ckks.py does."""
        keystream.apply(parts.view(WORDS.dtype), streams, WORDS)
        return self.packing.wrap(parts)

    def _unmask(self) -> None:
        zeros = np.zeros(self.packing.parts(self.length), np.int64)
        self.adder.subtract(self._masked(zeros, [(key, 1) for key in self.self_keys]))

    def decrypt(self) -> None:
        if not self.result:
            if self.packing.masked:
                self.unmasking = _timed(self._unmask)[0]
            self.result = self.adder.result()
        spent, values = _timed(
            lambda: self.packing.unpack(self.hospital.decrypt(self.result), self.length)
        )
        self.decrypting.append(spent)
        self.exact = self.exact and np.array_equal(values, self.truth)

    def figures(self) -> dict[str, Any]:
        return {
            "encrypt_ns_per_parameter": statistics.median(self.encrypting) / self.length,
            "add_ns_per_parameter": statistics.median(self.adding) / self.length,
            "decrypt_ns_per_parameter": statistics.median(self.decrypting) / self.length,
            **(
                {"unmask_ns_per_parameter": self.unmasking / self.length}
                if self.packing.masked
                else {}
            ),
            "upload_bytes_per_parameter": self.uploaded / self.length,
            "download_bytes_per_parameter": sum(map(len, self.result)) / self.length,
            "exact": self.exact,
        }


def _common(length: int, cohort: int, bits: int, seed: int) -> dict[str, Any]:
    """Measure the common settings tensor by tensor, since a ciphertext is 14 times its vector."""
    common = CommonSettings()
    common.encrypt(np.zeros(4096, np.float32))
    step = CLIP / (2 ** (bits - 1) - 1)
    updates = [(_values(length, bits, seed + me) * step).astype(np.float32) for me in range(cohort)]
    encrypting, adding = [0] * cohort, [0] * cohort
    decrypting = uploaded = downloaded = start = 0
    exact = True
    for size in _tensor_sizes(length):
        piece = slice(start, start + size)
        start += size
        total = None
        for me, update in enumerate(updates):
            spent, blob = _timed(partial(common.encrypt, update[piece]))
            encrypting[me] += spent
            uploaded += len(blob) if me == 0 else 0
            spent, total = _timed(partial(_add_common, common, total, blob))
            adding[me] += spent
        blob = common.save(total)
        downloaded += len(blob)
        spent, decoded = _timed(partial(common.decrypt, blob))
        decrypting += spent
        truth = np.sum([update[piece] for update in updates], axis=0, dtype=np.float64)
        exact = exact and np.array_equal(decoded.astype(np.float32), truth.astype(np.float32))
    return {
        "encrypt_ns_per_parameter": statistics.median(encrypting) / length,
        "add_ns_per_parameter": statistics.median(adding) / length,
        "decrypt_ns_per_parameter": decrypting / length,
        "upload_bytes_per_parameter": uploaded / length,
        "download_bytes_per_parameter": downloaded / length,
        "exact": bool(exact),
    }


def _add_common(common: CommonSettings, total: Any, blob: bytes) -> Any:
    vector = common.load(blob)
    if total is None:
        return vector
    total += vector
    return total


def _values(length: int, bits: int, seed: int) -> NDArray[np.int32]:
    high = 2 ** (bits - 1)
    return np.random.default_rng(seed).integers(-high, high, length, np.int32)


def _tensor_sizes(length: int) -> Iterable[int]:
    """Yield the sizes of ResNet18's tensors in order, repeated or cut to `length` values."""
    import torch
    from torchvision.models import resnet18

    with torch.device("meta"):
        shapes = [tuple(tensor.shape) for tensor in resnet18().parameters()]
    while length:
        for shape in shapes:
            size = min(math.prod(shape), length)
            if size:
                yield size
            length -= size


@contextmanager
def _without_chatter() -> Iterator[None]:
    """Silence TenSEAL, which warns on standard output for every tensor above 4096 values."""
    flush = ctypes.CDLL(None).fflush
    sys.stdout.flush()
    flush(None)
    kept, nowhere = os.dup(1), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 1)
        with redirect_stdout(io.StringIO()):
            yield
    finally:
        flush(None)
        os.dup2(kept, 1)
        os.close(kept)
        os.close(nowhere)


def _timed(work: Callable[[], Any]) -> tuple[int, Any]:
    start = time.process_time_ns()
    result = work()
    return time.process_time_ns() - start, result
