"""DICOM radiographs, read with pydicom; labels come from the folder or the manifest.

What is used of a file: its pixels, how they are to be shown (rescale, window, photometric
interpretation; DICOM PS3.3 C.7.6.3, C.11.1, C.11.2), its modality, and, only to keep a patient's
images together, who the patient is. Nothing else leaves this file.
"""

from __future__ import annotations

import logging
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from learning.data.base import Unreadable, stretch

if TYPE_CHECKING:
    from pydicom import Dataset

SUFFIXES = {".dcm", ".dicom"}
# PS3.3 C.7.3.1.1.1; DR is what some senders write for DX
RADIOGRAPHS = ("CR", "DX", "DR", "RG", "PX", "IO")


def is_dicom(path: Path) -> bool:
    """By suffix; without one, by the four letters after the preamble (PS3.10 section 7.1)."""
    if path.suffix:
        return path.suffix.lower() in SUFFIXES
    try:
        with path.open("rb") as file:
            return file.read(132)[128:] == b"DICM"
    except OSError:
        return False


def patient(path: Path) -> tuple[tuple[tuple[str, str], ...], tuple[str, ...]]:
    """Whom the header names: identities to group by, and words that must not be shown.

    Both are empty for other files and unreadable headers. Images are grouped by PatientID, or by
    the name if there is no id: a name alone may be "anonymous" throughout.
    """
    if not is_dicom(path):
        return (), ()
    import pydicom

    try:
        with _quiet():
            header = pydicom.dcmread(
                path, specific_tags=["PatientID", "PatientName"], stop_before_pixels=True
            )
            number, name = (
                str(header.get(tag, "")).strip() for tag in ("PatientID", "PatientName")
            )
    except Exception:  # a damaged file is skipped and named when it is loaded
        return (), ()
    known = number or name
    words = tuple(word for word in re.split(r"[\W_]+", name) if len(word) > 2)
    return ((("dicom", known),) if known else ()), ((number, *words) if number else words)


def read(path: Path) -> np.ndarray:
    """The radiograph as uint8, H x W, bright where dense.

    Raises:
        Unreadable: If it is of another modality, or identifying text is burnt into its pixels.
    """
    with _quiet():
        return _read(path)


def _read(path: Path) -> np.ndarray:
    import pydicom
    from pydicom.pixels.processing import apply_modality_lut

    file = pydicom.dcmread(path)
    modality = str(file.get("Modality", ""))
    if modality not in RADIOGRAPHS:
        shown = modality if re.fullmatch("[A-Z0-9 _]{1,16}", modality) else "unknown"
        raise Unreadable(f"modality {shown} is not a radiograph ({', '.join(RADIOGRAPHS)})")
    if str(file.get("BurnedInAnnotation", "")).upper() == "YES":
        raise Unreadable("its header says that identifying text is burnt into the pixels")
    if int(file.get("SamplesPerPixel", 1)) != 1:
        raise Unreadable("is in colour, which a radiograph is not")
    if int(file.get("NumberOfFrames", 1) or 1) != 1:
        raise Unreadable("has several frames")
    pixels = _window(file, apply_modality_lut(file.pixel_array, file))
    return 255 - pixels if file.get("PhotometricInterpretation") == "MONOCHROME1" else pixels


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence pydicom: its warnings quote values, which may be a patient's."""
    log = logging.getLogger("pydicom")
    before = log.disabled
    log.disabled = True
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        log.disabled = before


def _window(file: Dataset, values: np.ndarray) -> np.ndarray:
    """uint8 by the header's look-up table or first linear window (PS3.3 C.11.2.1).

    Without either, the window goes from the 0.5th to the 99.5th percentile.
    """
    from pydicom.pixels.processing import apply_voi_lut

    if file.get("VOILUTSequence"):
        return stretch(apply_voi_lut(values, file))
    centre, width = _first(file.get("WindowCenter")), _first(file.get("WindowWidth"))
    if centre is not None and width is not None and width > 1:
        return stretch(values, centre - 0.5 - (width - 1) / 2, centre - 0.5 + (width - 1) / 2)
    return stretch(values, *(float(v) for v in np.percentile(values, (0.5, 99.5))))


def _first(value: Any) -> float | None:
    """The number, or the first of several; None if there is none."""
    if value is None or value == "":
        return None
    return float(value if isinstance(value, (int, float, str)) else value[0])
