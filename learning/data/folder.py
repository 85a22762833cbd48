"""ImageFolder: `{train,test}/<class>/<file>` or `<class>/<file>`; the folder's name is the class.
Kvasir comes like this.
"""

from __future__ import annotations

import os
from pathlib import Path

from learning.data import dicom
from learning.data.base import DataError, Dataset, reading
from learning.data.files import SUFFIXES, Entry, build
from learning.data.source import Format, Source


def recognises(source: Source) -> bool:
    """Always: this format is asked last."""
    return True


def open_folder(source: Source) -> Dataset:
    """The classes are the folders' names, sorted; an empty folder is a class without images. A
    `val` folder is left aside.
    """
    folder = source.path
    if not folder.is_dir():
        raise DataError(
            f"{folder} is a file of no known kind; a data set is a folder or an npz file."
        )
    parts: tuple[list[Entry], list[Entry]] = ([], [])
    found: set[str] = set()
    for name, entries in zip(("train", "test"), parts, strict=True):
        base = folder / name if (folder / "train").is_dir() else folder
        if name == "test" and (base == folder or not base.is_dir()):
            continue
        class_folders = _folders(base)
        found.update(path.name for path in class_folders)
        for class_folder in class_folders:
            entries += [
                Entry(path, class_folder.name, *dicom.patient(path))
                for path in _files(class_folder)
            ]
    if not found:
        raise DataError(
            f"{folder} has no class folders: it needs <class>/<file>,"
            " {train,test}/<class>/<file>, or a manifest.csv with the columns file and class."
        )
    if not parts[0]:
        raise DataError(
            f"{folder} has class folders ({', '.join(sorted(found))}) but no image to train on in"
            " them."
        )
    return build(source, parts, sorted(found))


def _folders(base: Path) -> list[Path]:
    with reading(base):
        return sorted(
            path for path in base.iterdir() if path.is_dir() and not path.name.startswith(".")
        )


def _files(class_folder: Path) -> list[Path]:
    """Image files at any depth, sorted by path, so that every machine sees the same order."""
    found = []
    with reading(class_folder):
        for place, folders, names in os.walk(class_folder):
            folders[:] = [name for name in folders if not name.startswith(".")]
            paths = (Path(place, name) for name in names if not name.startswith("."))
            found += [
                path for path in paths if path.suffix.lower() in SUFFIXES or dicom.is_dicom(path)
            ]
    return sorted(found)


FORMAT = Format(
    "folder", "class folders: {train,test}/CLASS/FILE or CLASS/FILE", recognises, open_folder
)
