"""MedMNIST's npz: `train_images`, `train_labels`, and the same for val and test.

Yang et al. 2023, doi 10.1038/s41597-022-01721-8. The val part is not used: every hospital keeps
back a test part of its own. The file has no class names; those of a few sets are here.
"""

from __future__ import annotations

from learning.data.base import Dataset, Index, agreed
from learning.data.npz import Archive, Pixels, archive_of
from learning.data.source import Format, Source

CLASSES = {
    "pneumoniamnist": ("normal", "pneumonia"),
    "breastmnist": ("malignant", "normal-or-benign"),
}


def recognises(source: Source) -> bool:
    archive = archive_of(source.path)
    return archive is not None and "train_images" in archive.names


def open_medmnist(source: Source) -> Dataset:
    """The training part, and the test part if it is there."""
    archive, image_size = Archive.of(source.path), source.image_size
    labels = {
        part: archive.labels(f"{part}_labels")
        for part in ("train", "test")
        if f"{part}_images" in archive.names
    }
    count = 1 + int(max(values.max() for values in labels.values()))
    # pneumoniamnist_64 is a larger edition of the same
    stem = archive.path.stem.lower().split("_")[0]
    own: tuple[str, ...] = CLASSES.get(stem, ())
    own = own if len(own) == count else tuple(str(i) for i in range(count))
    names = agreed(source.classes, own, str(archive.path))
    readers = {
        part: Pixels(archive, f"{part}_images", len(values)) for part, values in labels.items()
    }
    channels = source.channels or (3 if readers["train"].pixels.ndim == 4 else 1)
    parts = {
        part: Index(values, readers[part], image_size, channels) for part, values in labels.items()
    }
    return Dataset(
        archive.path.stem, names, channels, image_size, parts["train"], parts.get("test")
    )


FORMAT = Format(
    "medmnist", "MedMNIST's npz: train_images and train_labels", recognises, open_medmnist
)
