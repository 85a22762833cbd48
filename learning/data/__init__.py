"""Image sets. `open_dataset` takes a name or a path and finds the format; each format is one file
of this package.

A new format is one file with `recognises(folder)` and an `open_...` function, and one line in
FORMATS.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from learning.data import cifar, covidx, folder, idx, manifest, npz, phantom
from learning.data.base import DataError, Dataset, Images, Index, Skipped
from learning.data.holdout import local_split

__all__ = ["DataError", "Dataset", "Images", "Index", "Skipped", "local_split", "open_dataset"]

# the first that recognises the folder opens it; ImageFolder takes what is left
FORMATS = (
    (manifest.recognises, manifest.open_manifest),
    (covidx.recognises, covidx.open_covidx),
    (idx.recognises, idx.open_idx),
    (cifar.recognises, cifar.open_batches),
    (npz.recognises, npz.open_npz),
    (folder.recognises, folder.open_folder),
)


def open_dataset(
    spec: str,
    *,
    image_size: int = 64,
    channels: int | None = None,
    seed: int = 0,
    root: Path | None = None,
    classes: Sequence[str] | None = None,
    cache: Path | None = None,
) -> Dataset:
    """Open an image set without reading its pixels.

    `spec`: `phantom-cxr` (drawn, no files; `phantom-cxr:N` for N training images), else a name
    under `root`, else a path. `image_size`: pixels a side, 8..1024. `channels`: 1 (grey) or 3
    (colour); None: what the set is. `seed`: of the phantoms only. `classes`: the class names that
    the federation has agreed on, in order; None: the set's own. `cache`: file of decoded training
    images (see Index.load). Raises DataError with one sentence.
    """
    if not isinstance(image_size, int) or not 8 <= image_size <= 1024:
        raise DataError(f"image_size must be a whole number from 8 to 1024, not {image_size}.")
    if channels not in (None, 1, 3):
        raise DataError(f"channels must be 1 (grey) or 3 (colour), not {channels}.")
    if classes is not None and len(set(classes)) != len(classes):
        raise DataError(f"The agreed classes hold a name twice: {', '.join(classes)}.")
    if spec.split(":")[0] == phantom.NAME:
        dataset = phantom.open_phantom(spec, image_size, channels or 1, seed, classes)
    else:
        path = find(spec, root)
        dataset = next(opener for recognises, opener in FORMATS if recognises(path))(
            path, image_size, channels, classes
        )
    return replace(dataset, train=replace(dataset.train, cache=cache)) if cache else dataset


def find(spec: str, root: Path | None) -> Path:
    """Where the files of a set lie: a name under `root`, else a path. Absolute. Raises DataError."""
    if not spec:
        raise DataError("The data set has no name.")
    places = [Path(root, spec)] if root is not None else []
    places.append(Path(spec).expanduser())
    for place in places:
        if place.exists():
            if place.is_dir() and not any(place.iterdir()):
                raise DataError(
                    f"{place} is an empty folder; a data set is a folder train/CLASS with images,"
                    " or one of the known files."
                )
            return place.absolute()
    looked = (
        f"neither under {root} nor as a path"
        if root is not None
        else "and FLOP_DATA names no folder to look in"
    )
    raise DataError(f"There is no data set {spec!r}, {looked}; {phantom.NAME} needs no files.")
