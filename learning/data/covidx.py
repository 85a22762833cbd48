"""COVIDx's own file lists: `train_split.txt` and `test_split.txt` (and their later names), images
in `train/` and `test/`.

A line is "patient filename class source" (early lists have no source). Wang et al. 2020, arXiv
2003.09871. The patient stays inside.
"""

from __future__ import annotations

from pathlib import Path, PurePosixPath

from learning.data.base import DataError, Dataset, reading
from learning.data.files import Entry, build
from learning.data.source import Format, Source


def recognises(source: Source) -> bool:
    return _list(source.path, "train") is not None


def open_covidx(source: Source) -> Dataset:
    folder, train = source.path, _list(source.path, "train")
    parts = (
        _entries(folder, "train", train),
        _entries(folder, "test", _list(folder, "test")),
    )
    if not parts[0]:
        raise DataError(f"{train} names no image to train on.")
    return build(source, parts)


def _list(folder: Path, part: str) -> Path | None:
    """train_split.txt, train_split_v3.txt, train_COVIDx4.txt, ...: the only one, or the last by
    name.
    """
    found = sorted([*folder.glob(f"{part}_split*.txt"), *folder.glob(f"{part}_COVIDx*.txt")])
    return found[-1] if found else None


def _entries(folder: Path, part: str, path: Path | None) -> list[Entry]:
    if path is None:
        return []
    base = folder / part if (folder / part).is_dir() else folder
    entries, missing = [], []
    try:
        with reading(path):
            lines = path.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError:
        raise DataError(f"{path} is not a text file in UTF-8.") from None
    for number, line in enumerate(lines, 1):
        words = line.split()
        if not words:
            continue
        if len(words) < 3:
            raise DataError(
                f"{path}, line {number}: needs patient, file name, class and source, separated by"
                " blanks."
            )
        # three words are the early form; a blank inside a file name only fits the form with a
        # source
        patient, name, label = (
            words if len(words) == 3 else (words[0], " ".join(words[1:-2]), words[-2])
        )
        relative = PurePosixPath(name)
        if relative.is_absolute() or ".." in relative.parts:
            raise DataError(f"{path}, line {number}: the file name must be a path inside {base}.")
        source = words[-1] if len(words) > 3 else ""
        entries.append(
            Entry(
                base / relative,
                label,
                (("patient", f"{source}:{patient}"),),
                (patient,),
                {"source": source},
            )
        )
        if not entries[-1].path.is_file():
            missing.append(number)
    if missing:
        raise DataError(
            f"{path} names {len(missing)} files that are not in {base}, the first in line"
            f" {missing[0]}."
        )
    return entries


FORMAT = Format(
    "covidx",
    "COVIDx's lists: train_split.txt and test_split.txt, images in train/ and test/",
    recognises,
    open_covidx,
)
