import logging
import os
import shutil
import warnings
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import UID, ExplicitVRLittleEndian, generate_uid

from learning.data import DataError, open_dataset
from tests.learning.data_files import manifest

SECRETS = ("MRN48151", "Quimby", "Zelda", "19300229")
RAMP = np.tile(np.arange(64, dtype=np.uint16) * 16, (64, 1))  # 0 to 1008, dark on the left


def write(path: Path, number: str = "MRN48151", **change) -> Path:
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.MediaStorageSOPClassUID = UID("1.2.840.10008.5.1.4.1.1.1.1")
    meta.MediaStorageSOPInstanceUID = generate_uid()
    file = FileDataset(path, {}, file_meta=meta, preamble=b"\0" * 128)
    file.PatientID, file.PatientName, file.PatientBirthDate = number, "Quimby^Zelda", "19300229"
    file.Modality, file.PhotometricInterpretation = "DX", "MONOCHROME2"
    file.Rows, file.Columns, file.SamplesPerPixel, file.PixelRepresentation = 64, 64, 1, 0
    file.BitsAllocated, file.BitsStored, file.HighBit = 16, 12, 11
    file.PixelData = RAMP.tobytes()
    path.parent.mkdir(parents=True, exist_ok=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name, value in change.items():
            setattr(file, name, value)
        file.save_as(path)
    return path


def only(root: Path) -> np.ndarray:
    return open_dataset(str(root), image_size=64).train.load().images[0, 0].numpy().astype(int)


def test_windows_and_polarity(tmp_path):
    path = tmp_path / "a" / "1.dcm"
    write(path)
    plain = only(tmp_path)
    assert plain[0, 0] == 0 and plain[0, -1] == 255 and abs(plain[0, 32] - 128) < 4
    write(path, PhotometricInterpretation="MONOCHROME1")
    assert np.array_equal(only(tmp_path), 255 - plain)
    write(path, WindowCenter=512, WindowWidth=256)  # 384 to 640 is what is shown
    windowed = only(tmp_path)
    assert windowed[0, 23] == 0 and windowed[0, 41] == 255 and abs(windowed[0, 32] - 128) < 4
    write(path, WindowCenter=[512, 40], WindowWidth=[256, 400])
    assert np.array_equal(only(tmp_path), windowed)  # the first of several
    write(path, RescaleSlope=2, RescaleIntercept=-1000, WindowCenter=24, WindowWidth=512)
    assert np.abs(only(tmp_path) - windowed).max() <= 1  # the window counts after rescaling


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"Modality": "CT"}, "modality CT is not a radiograph"),
        ({"Modality": "Zelda Quimby"}, "modality unknown"),
        ({"BurnedInAnnotation": "YES"}, "burnt into the pixels"),
        ({"NumberOfFrames": 2, "PixelData": RAMP.tobytes() * 2}, "several frames"),
        ({"PixelData": b"\0" * 10}, "does not decode"),
    ],
)
def test_refused_by_name(tmp_path, change, reason):
    write(tmp_path / "a" / "1.dcm")
    write(tmp_path / "a" / "2.dcm", number="MRN62342", **change)
    loaded = open_dataset(str(tmp_path), image_size=32).train.load()
    assert len(loaded.images) == 1
    (skipped,) = loaded.skipped
    assert skipped.name == "a/2.dcm" and reason in skipped.reason
    assert not any(secret in skipped.reason for secret in SECRETS)


def test_patients_are_groups_and_stay_inside(tmp_path):
    cache = tmp_path / "cache.safetensors"
    write(tmp_path / "set" / "a" / "x")  # without a suffix, by its preamble
    write(tmp_path / "set" / "a" / "y.dcm", number="MRN62342")
    write(tmp_path / "set" / "b" / "z.dcm")
    write(tmp_path / "set" / "b" / "zelda-1.dcm", Modality="MR")
    data = open_dataset(str(tmp_path / "set"), image_size=32)
    a, b, c, d = data.train.groups
    assert a == c == d != b
    loaded = data.train.cached(cache).load()
    assert [skipped.name for skipped in loaded.skipped] == [
        "image 4 (its file name holds the patient's identifier)"
    ]
    seen = repr(data) + repr(loaded) + repr(data.train.groups) + str(data.train.columns)
    assert not any(secret.lower() in seen.lower() for secret in SECRETS)
    stored = cache.read_bytes()
    assert not any(secret.encode() in stored for secret in SECRETS)


def test_pydicom_says_nothing_of_a_patient(tmp_path, caplog, recwarn, monkeypatch):
    """Which values it quotes in warnings and log lines differs between its versions, so here it
    quotes the name.
    """
    write(tmp_path / "a" / "1.dcm")
    read = pydicom.dcmread

    def talkative(path, **options):
        file = read(path, **options)
        warnings.warn(f"Invalid value: {file.PatientName}", stacklevel=1)
        logging.getLogger("pydicom").warning("Invalid value: %s", file.PatientName)
        return file

    monkeypatch.setattr(pydicom, "dcmread", talkative)
    assert len(open_dataset(str(tmp_path), image_size=32).train.load().images) == 1
    assert "Quimby" not in caplog.text and not any(
        "Quimby" in str(warning.message) for warning in recwarn
    )


def test_labels_by_manifest(tmp_path):
    write(tmp_path / "1.dcm")
    write(tmp_path / "2.dcm", number="MRN62342")
    manifest(tmp_path, "file,class,site", "1.dcm,sick,north", "2.dcm,well,south")
    data = open_dataset(str(tmp_path), image_size=32)
    assert (
        data.classes == ("sick", "well")
        and data.column("site") == ["north", "south"]
        and data.channels == 1
    )
    assert len(set(data.train.groups)) == 2
    assert len(data.train.load().images) == 2


def test_a_folder_without_labels(tmp_path):
    write(tmp_path / "1.dcm")
    with pytest.raises(DataError, match="no class folders"):
        open_dataset(str(tmp_path))


@pytest.mark.skipif(
    "FLOP_DATA" not in os.environ, reason="the same is tested on synthetic files above"
)
def test_real_files(tmp_path):
    source = Path(os.environ["FLOP_DATA"]) / "dicom-chest"
    if not source.is_dir():
        pytest.skip("FLOP_DATA has no dicom-chest")
    shutil.copytree(source, tmp_path / "set" / "chest")
    cache = tmp_path / "cache.safetensors"
    data = open_dataset(str(tmp_path / "set"), image_size=64)
    loaded = data.train.cached(cache).load()
    assert [(skipped.name, skipped.reason[:11]) for skipped in loaded.skipped] == [
        ("chest/wrong_modality_ct.dcm", "modality CT")
    ]
    # lungs are darker than the middle of the chest: also in the JPEG 2000 file, which is
    # MONOCHROME1
    images = loaded.images[:, 0].float()
    assert (images[:, 24:40, 28:36].mean((1, 2)) > images[:, 24:40, 14:22].mean((1, 2)) + 20).all()
    seen = (repr(data) + repr(loaded)).encode() + cache.read_bytes()
    for path in source.glob("*.dcm"):
        header = pydicom.dcmread(path, stop_before_pixels=True)
        for tag in ("PatientName", "PatientBirthDate", "OtherPatientIDs"):
            value = str(header.get(tag, "")).strip()
            assert len(value) < 5 or value.encode() not in seen
