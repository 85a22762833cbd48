"""What `open_dataset` is asked for, and what a format is: it recognises a source and opens it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from learning.data.base import DataError, Dataset, reading


@dataclass(frozen=True)
class Source:
    """What `open_dataset` was asked for; see there."""

    spec: str
    image_size: int = 64
    channels: int | None = None
    classes: tuple[str, ...] | None = None
    seed: int = 0
    root: Path | None = None

    @cached_property
    def path(self) -> Path:
        """Where the files are: a name under `root`, else a path. Absolute.

        Raises:
            DataError: If there is nothing, or an empty folder.
        """
        if not self.spec:
            raise DataError("The data set has no name.")
        places = [Path(self.root, self.spec)] if self.root is not None else []
        places.append(_home(Path(self.spec)))
        for place in places:
            with reading(place):
                there = place.exists()
                empty = there and place.is_dir() and not any(place.iterdir())
            if there:
                if empty:
                    raise DataError(
                        f"{place} is an empty folder; a data set is a folder train/CLASS with"
                        " images, or one of the known files."
                    )
                return place.absolute()
        looked = (
            f"neither under {self.root} nor as a path"
            if self.root is not None
            else "and FLOP_DATA names no folder to look in"
        )
        raise DataError(
            f"There is no data set {self.spec!r}, {looked}; phantom-cxr needs no files."
        )


def _home(path: Path) -> Path:
    """The path with its `~` or `~USER` replaced; as it is if that user has no home."""
    try:
        return path.expanduser()
    except RuntimeError:
        return path


@dataclass(frozen=True)
class Format:
    """One format of image sets.

    Attributes:
        name: A short name for lists; of a built-in set, what `--data` takes.
        about: One line for lists: what a source must hold.
        recognises: Whether a source is of this format. Formats are asked in the order of
            `FORMATS`.
        open: Opens a source that is of this format. Raises DataError.
        built_in: The images are drawn, not read: there is no path.
    """

    name: str
    about: str
    recognises: Callable[[Source], bool]
    open: Callable[[Source], Dataset]
    built_in: bool = False
