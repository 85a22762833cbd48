"""MedMNIST's npz: `train_images`, `train_labels`, and the same for val and test. Yang et al. 2023,
doi 10.1038/s41597-022-01721-8.

The val part is left aside: every hospital holds back its own local test part. The file has no class
names; those of a few sets are here.
"""

from __future__ import annotations

from collections.abc import Sequence

from learning.data.base import Dataset, Index, agreed
from learning.data.npz import Archive, Pixels

CLASSES = {
    "pneumoniamnist": ("normal", "pneumonia"),
    "breastmnist": ("malignant", "normal-or-benign"),
}


def open_medmnist(
    archive: Archive, image_size: int, channels: int | None, classes: Sequence[str] | None
) -> Dataset:
    """Called by npz.py, which recognises the file."""
    labels = {
        part: archive.labels(f"{part}_labels")
        for part in ("train", "test")
        if f"{part}_images" in archive.names
    }
    count = 1 + int(max(values.max() for values in labels.values()))
    # pneumoniamnist_64 is a larger edition of the same
    stem = archive.path.stem.lower().split("_")[0]
    own = CLASSES.get(stem, ())
    own = own if len(own) == count else tuple(str(i) for i in range(count))
    names = agreed(classes, own, str(archive.path))
    readers = {
        part: Pixels(archive, f"{part}_images", len(values)) for part, values in labels.items()
    }
    channels = channels or (3 if readers["train"].pixels.ndim == 4 else 1)
    parts = {
        part: Index(values, readers[part], image_size, channels) for part, values in labels.items()
    }
    return Dataset(
        archive.path.stem, names, channels, image_size, parts["train"], parts.get("test")
    )
