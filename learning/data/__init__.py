"""Image sets: `open_dataset` takes a name or a path and finds the format, `arrays` takes tensors.

A new format is one file with a `FORMAT` (see `base.Format`), and one line in `FORMATS`.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from pathlib import Path

from learning.data.base import DataError, Dataset, Images, Index, Skipped
from learning.data.holdout import local_split
from learning.data.in_memory import arrays
from learning.data.local import LocalData, load_parts
from learning.data.source import Format, Source

__all__ = [
    "DataError",
    "Dataset",
    "Format",
    "Images",
    "Index",
    "LocalData",
    "Skipped",
    "Source",
    "arrays",
    "formats",
    "load_parts",
    "local_split",
    "locate",
    "open_dataset",
]

# The first that recognises the source opens it; the folder of class folders takes what is left.
FORMATS = (
    "learning.data.phantom",
    "learning.data.manifest",
    "learning.data.covidx",
    "learning.data.idx",
    "learning.data.cifar",
    "learning.data.medmnist",
    "learning.data.npz_jpeg",
    "learning.data.npz",
    "learning.data.folder",
)


def formats() -> list[Format]:
    """Every format, in the order in which they are asked."""
    return [import_module(name).FORMAT for name in FORMATS]


def open_dataset(
    spec: str,
    *,
    image_size: int = 64,
    channels: int | None = None,
    seed: int = 0,
    root: Path | None = None,
    classes: Sequence[str] | None = None,
) -> Dataset:
    """Open an image set without reading its pixels.

    Args:
        spec: A built-in set (`phantom-cxr`, or `phantom-cxr:N` for N training images), else a name
            under `root`, else a path.
        image_size: Pixels a side, 8 to 1024.
        channels: 1 (grey) or 3 (colour); None: what the set is.
        seed: For the built-in sets, which are drawn from it.
        root: The folder that holds sets by name.
        classes: The class names that the federation has agreed on, in order; None: the set's own.

    Raises:
        DataError: If there is no such set or it is not as its format says; one sentence.
    """
    if not isinstance(image_size, int) or not 8 <= image_size <= 1024:
        raise DataError(f"image_size must be a whole number from 8 to 1024, not {image_size}.")
    if channels not in (None, 1, 3):
        raise DataError(f"channels must be 1 (grey) or 3 (colour), not {channels}.")
    if classes is not None and len(set(classes)) != len(classes):
        raise DataError(f"The agreed classes hold a name twice: {', '.join(classes)}.")
    agreed = None if classes is None else tuple(classes)
    source = Source(spec, image_size, channels, agreed, seed, root)
    return _format(source).open(source)


def locate(spec: str, root: Path | None) -> str:
    """The spec as a process in any other folder understands it: a path becomes absolute.

    Raises:
        DataError: If there is no such set.
    """
    source = Source(spec, root=root)
    return spec if _format(source).built_in else str(source.path)


def _format(source: Source) -> Format:
    return next(one for one in formats() if one.recognises(source))
