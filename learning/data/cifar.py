"""CIFAR-10's binary batches (Krizhevsky 2009).

The python batches are pickles, which can run code when they are read: they are refused.
"""

from __future__ import annotations

from functools import cached_property
from pathlib import Path

import numpy as np

from learning.data.base import DataError, Dataset, Index, agreed, reading
from learning.data.source import Format, Source

CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
RECORD = 1 + 3 * 32 * 32  # a label, then the red, green and blue planes
BINARY, PYTHON = "cifar-10-batches-bin", "cifar-10-batches-py"


def recognises(source: Source) -> bool:
    return any(any(_inside(source.path, name).glob("data_batch_*")) for name in (BINARY, PYTHON))


def open_batches(source: Source) -> Dataset:
    """`data_batch_1.bin` ... and `test_batch.bin`, here or in the folder of the download."""
    folder, image_size = source.path, source.image_size
    place = _inside(folder, BINARY)
    train = sorted(place.glob("data_batch_*.bin"))
    if not train:
        raise DataError(
            f"{folder} holds CIFAR-10's python batches, which are pickles and can run code when"
            " read: take the binary version (cifar-10-binary.tar.gz, files data_batch_1.bin to"
            " test_batch.bin) instead."
        )
    test = sorted(place.glob("test_batch.bin"))
    names, channels = agreed(source.classes, CLASSES, str(folder)), source.channels or 3

    def part(paths: list[Path]) -> Index:
        reader = _Batches(paths)
        return Index(reader.labels(), reader, image_size, channels)

    return Dataset(
        folder.name, names, channels, image_size, part(train), part(test) if test else None
    )


def _inside(folder: Path, name: str) -> Path:
    return folder / name if (folder / name).is_dir() else folder


class _Batches:
    def __init__(self, paths: list[Path]) -> None:
        self.paths = paths
        for path in paths:
            size = path.stat().st_size
            if not size or size % RECORD:
                raise DataError(
                    f"{path} is truncated: {size} bytes are not a multiple of {RECORD}, one"
                    " CIFAR-10 image."
                )
        self.maps = []
        for path in paths:
            with reading(path):
                self.maps.append(np.memmap(path, np.uint8, "r").reshape(-1, RECORD))
        self.starts = np.cumsum([0] + [len(one) for one in self.maps])

    def labels(self) -> np.ndarray:
        labels = np.concatenate([one[:, 0] for one in self.maps]).astype(np.int64)
        if labels.max() >= len(CLASSES):
            raise DataError(
                f"{self.paths[0].parent} holds a label above 9: these are not CIFAR-10's binary"
                " batches."
            )
        return labels

    def _place(self, row: int) -> tuple[int, int]:
        batch = int(np.searchsorted(self.starts, row, side="right")) - 1
        return batch, row - int(self.starts[batch])

    def read(self, row: int) -> np.ndarray:
        batch, place = self._place(row)
        return np.ascontiguousarray(
            self.maps[batch][place, 1:].reshape(3, 32, 32).transpose(1, 2, 0)
        )

    def name(self, row: int) -> str:
        batch, place = self._place(row)
        return f"{self.paths[batch].name}, image {place}"

    @cached_property
    def _stamps(self) -> list[str]:
        return [f"{path}:{path.stat().st_size}:{path.stat().st_mtime_ns}" for path in self.paths]

    def stamp(self, row: int) -> str:
        batch, place = self._place(row)
        return f"{self._stamps[batch]}:{place}"


FORMAT = Format(
    "cifar", "CIFAR-10's binary batches: data_batch_1.bin and the like", recognises, open_batches
)
