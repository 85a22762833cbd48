"""DICOM radiographs, read with pydicom; labels come from the folder or the manifest.

What is used of a file: its pixels, how they are to be shown (rescale, window, photometric interpretation; DICOM PS3.3
C.7.6.3, C.11.1, C.11.2), its modality, and, only to keep a patient's images together, who the patient is. Nothing else
leaves this file.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from learning.data.base import Unreadable, stretch

SUFFIXES = {".dcm", ".dicom"}
RADIOGRAPHS = ("CR", "DX", "DR", "RG", "PX", "IO")  # PS3.3 C.7.3.1.1.1; DR is what some senders write for DX
_IDENTITY = ("PatientID", "PatientName", "IssuerOfPatientID")


def is_dicom(path: Path) -> bool:
    """By suffix, or without a suffix by the four letters after the preamble (PS3.10 section 7.1)."""
    if path.suffix:
        return path.suffix.lower() in SUFFIXES
    try:
        with path.open("rb") as file:
            return file.read(132)[128:] == b"DICM"
    except OSError:
        return False


def identities(path: Path) -> tuple[tuple[str, str], ...]:
    """The patient that the header names, for grouping only; nothing for other files and unreadable headers."""
    if not is_dicom(path):
        return ()
    import pydicom

    try:
        header = pydicom.dcmread(path, specific_tags=list(_IDENTITY), stop_before_pixels=True)
        return tuple(
            ("dicom " + tag, str(header.get(tag))) for tag in _IDENTITY[:2] if str(header.get(tag, "")).strip()
        )
    except Exception:  # a damaged file is skipped and named when it is loaded
        return ()


def read(path: Path) -> np.ndarray:
    """The radiograph as uint8, H x W, bright where dense. Raises Unreadable for other modalities and burnt-in
    identifiers.
    """
    import pydicom

    file = pydicom.dcmread(path)
    modality = str(file.get("Modality", "")) or "none"
    if modality not in RADIOGRAPHS:
        raise Unreadable(f"modality {modality} is not a radiograph ({', '.join(RADIOGRAPHS)})")
    if str(file.get("BurnedInAnnotation", "")).upper() == "YES":
        raise Unreadable("its header says that identifying text is burnt into the pixels")
    if int(file.get("SamplesPerPixel", 1)) != 1:
        raise Unreadable("is in colour, which a radiograph is not")
    if int(file.get("NumberOfFrames", 1) or 1) != 1:
        raise Unreadable("has several frames")
    stored = file.pixel_array.astype(np.float32)
    values = stored * float(file.get("RescaleSlope", 1) or 1) + float(file.get("RescaleIntercept", 0) or 0)
    shown = _window(file, values)
    return 255 - shown if file.get("PhotometricInterpretation") == "MONOCHROME1" else shown


def _window(file, values: np.ndarray) -> np.ndarray:
    """The first window of the header (linear, PS3.3 C.11.2.1.2); without one, the 0.5th to 99.5th percentile."""
    centre, width = _first(file.get("WindowCenter")), _first(file.get("WindowWidth"))
    if centre is not None and width is not None and width > 1:
        return stretch(values, centre - 0.5 - (width - 1) / 2, centre - 0.5 + (width - 1) / 2)
    return stretch(values, *(float(v) for v in np.percentile(values, (0.5, 99.5))))


def _first(value) -> float | None:
    if value is None or value == "":
        return None
    return float(value if isinstance(value, (int, float, str)) else value[0])
