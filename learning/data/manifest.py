"""`manifest.csv`: one line per image with its file and class, and what else is known.

`file` (relative to the manifest) and `class` must be there. `split` is train or test (empty: train;
val is left aside). `group` and `patient_id` say which images must stay together; both stay inside
the loader. All other columns that do not identify are kept.
"""

from __future__ import annotations

import csv
from pathlib import Path, PurePosixPath

from learning.data import dicom
from learning.data.base import DataError, Dataset, reading
from learning.data.files import Entry, build
from learning.data.source import Format, Source

NAME = "manifest.csv"
GROUPING = ("group", "patient_id")
OWN = ("file", "class", "split", *GROUPING)
SPLITS = {"": 0, "train": 0, "test": 1, "val": None, "valid": None, "validation": None}


def recognises(source: Source) -> bool:
    return (source.path / NAME).is_file()


def open_manifest(source: Source) -> Dataset:
    path = source.path / NAME
    parts: tuple[list[Entry], list[Entry]] = ([], [])
    missing: list[int] = []
    try:
        with reading(path), path.open(newline="", encoding="utf-8-sig") as file:
            lines = csv.DictReader(file, restkey="")
            header = lines.fieldnames or []
            twice = next((name for name in header if header.count(name) > 1), None)
            if twice is not None:
                raise DataError(f"{path} names the column {twice!r} twice; rename one of them.")
            for needed in ("file", "class"):
                if needed not in header:
                    raise DataError(
                        f"{path} has no column {needed!r}; its columns are:"
                        f" {', '.join(header) or 'none'}."
                    )
            for line in lines:
                number = lines.line_num
                if "" in line or None in line.values():
                    raise DataError(f"{path}, line {number}: not as many cells as the header has.")
                if (split := line.get("split", "").strip().lower()) not in SPLITS:
                    raise DataError(f"{path}, line {number}: split must be train, test or val.")
                if (place := SPLITS[split]) is None:
                    continue
                entry = _entry(path, number, line)
                parts[place].append(entry)
                if not entry.path.is_file():
                    missing.append(number)
    except (UnicodeDecodeError, csv.Error):
        raise DataError(f"{path} is not a CSV file in UTF-8.") from None
    if missing:
        # by line and not by name: a file name may hold a patient's identifier
        raise DataError(
            f"{path} names {len(missing)} files that are not there, the first in line {missing[0]}."
        )
    if not parts[0]:
        raise DataError(f"{path} names no image to train on.")
    return build(source, parts)


def _entry(path: Path, number: int, line: dict[str, str]) -> Entry:
    relative = PurePosixPath(line["file"].strip())
    if relative.is_absolute() or ".." in relative.parts or not relative.parts:
        raise DataError(f"{path}, line {number}: file must be a path inside {path.parent}.")
    if not (label := line["class"].strip()):
        raise DataError(f"{path}, line {number}: the class is empty.")
    file = path.parent / relative
    own = tuple((kind, value) for kind in GROUPING if (value := line.get(kind, "").strip()))
    columns = {name: value.strip() for name, value in line.items() if name not in OWN}
    identities, secrets = dicom.patient(file)
    return Entry(file, label, own + identities, secrets, columns)


FORMAT = Format(
    "manifest",
    "manifest.csv: one line an image, with the columns file and class",
    recognises,
    open_manifest,
)
