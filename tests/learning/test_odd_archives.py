"""Sets whose files hold numbers: refused in a clear sentence, or every pixel in its place."""

from __future__ import annotations

import gzip
import io
import struct
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from learning.data import DataError, open_dataset
from learning.data.cifar import RECORD, _Batches
from learning.data.npz import Archive, Pixels, archive_of

RNG = np.random.default_rng(7)


def idx(array: np.ndarray) -> bytes:
    header = struct.pack(f">I{array.ndim}I", 0x800 | array.ndim, *array.shape)
    return header + array.astype(np.uint8).tobytes()


def idx_set(root: Path, images: np.ndarray, labels: np.ndarray, dot: str = "-") -> Path:
    root.mkdir(exist_ok=True)
    (root / f"train-images{dot}idx3-ubyte").write_bytes(idx(images))
    (root / f"train-labels{dot}idx1-ubyte").write_bytes(idx(labels))
    return root


@pytest.mark.parametrize("dot", ["-", "."])
def test_idx_names_with_a_dot_or_a_dash(tmp_path, dot):
    images = RNG.integers(0, 256, (3, 30, 20), np.uint8)
    data = open_dataset(str(idx_set(tmp_path / "set", images, np.array([2, 0, 1]), dot)))
    assert data.train.labels.tolist() == [2, 0, 1] and data.test is None
    assert data.train.load().images.shape == (3, 1, 64, 64)
    assert data.train.reader.name(2) == f"train-images{dot}idx3-ubyte, image 2"


def test_idx_rows_are_the_files_images_and_stamps_tell_them_apart(tmp_path):
    images = RNG.integers(0, 256, (4, 28, 28), np.uint8)
    data = open_dataset(str(idx_set(tmp_path, images, np.arange(4))), image_size=28)
    reader = data.train.reader
    assert all(np.array_equal(reader.read(row), images[row]) for row in range(4))
    assert len({reader.stamp(row) for row in range(4)}) == 4


def test_a_tenth_class_decides_between_fashion_and_numbers(tmp_path):
    images = np.zeros((2, 28, 28), np.uint8)
    plain = open_dataset(str(idx_set(tmp_path / "mnist", images, np.array([0, 9]))))
    fashion = open_dataset(str(idx_set(tmp_path / "my-Fashion", images, np.array([0, 3]))))
    more = open_dataset(str(idx_set(tmp_path / "fashion-2", images, np.array([0, 10]))))
    assert plain.classes == tuple("0123456789")
    assert fashion.classes[:2] == ("t-shirt", "trouser") and len(fashion.classes) == 10
    assert more.classes[-1] == "10"


def test_plain_files_go_before_compressed_ones(tmp_path):
    images = np.zeros((2, 28, 28), np.uint8)
    idx_set(tmp_path, images, np.array([0, 1]))
    (tmp_path / "train-labels-idx1-ubyte.gz").write_bytes(gzip.compress(idx(np.array([1, 1]))))
    assert open_dataset(str(tmp_path)).train.labels.tolist() == [0, 1]


@settings(deadline=None, max_examples=40)
@given(st.binary(max_size=40))
def test_any_bytes_as_an_idx_file_give_one_sentence(tmp_path_factory, junk):
    root = tmp_path_factory.mktemp("junk")
    idx_set(root, np.zeros((2, 8, 8), np.uint8), np.array([0, 1]))
    (root / "train-labels-idx1-ubyte").write_bytes(junk)
    with pytest.raises(DataError) as error:
        open_dataset(str(root))
    assert "\n" not in str(error.value) and str(error.value).endswith(".")


@settings(deadline=None, max_examples=30)
@given(st.lists(st.integers(1, 4), min_size=1, max_size=4))
def test_a_row_of_cifar_is_found_in_its_batch(tmp_path_factory, counts):
    root = tmp_path_factory.mktemp("cifar")
    total = sum(counts)
    records = np.arange(total, dtype=np.uint8)[:, None].repeat(RECORD, axis=1)
    records[:, 0] %= 10
    paths = []
    for number, (start, count) in enumerate(zip(np.cumsum([0, *counts]), counts, strict=False), 1):
        paths.append(root / f"data_batch_{number}.bin")
        paths[-1].write_bytes(records[start : start + count].tobytes())
    batches = _Batches(paths)
    assert batches.labels().tolist() == [n % 10 for n in range(total)]
    assert [int(batches.read(row)[0, 0, 0]) for row in range(total)] == list(range(total))
    assert batches.read(0).shape == (32, 32, 3)
    names = [batches.name(row) for row in range(total)]
    assert names == [
        f"data_batch_{number}.bin, image {place}"
        for number, count in enumerate(counts, 1)
        for place in range(count)
    ]
    assert len({batches.stamp(row) for row in range(total)}) == total


def test_cifars_planes_are_red_green_and_blue(tmp_path):
    record = np.concatenate([[3], np.full(1024, 10), np.full(1024, 20), np.full(1024, 30)])
    (tmp_path / "data_batch_1.bin").write_bytes(record.astype(np.uint8).tobytes())
    image = open_dataset(str(tmp_path), image_size=32).train.load().images[0]
    assert image[:, 0, 0].tolist() == [10, 20, 30]


@pytest.mark.parametrize(
    ("size", "label", "says"),
    [
        (0, 0, "truncated: 0 bytes"),
        (RECORD + 1, 0, "not a multiple of 3073"),
        (RECORD, 10, "a label above 9"),
    ],
)
def test_a_cifar_batch_of_another_kind_is_refused(tmp_path, size, label, says):
    (tmp_path / "data_batch_1.bin").write_bytes(bytes([label]) + bytes(size)[1:] if size else b"")
    with pytest.raises(DataError, match=says):
        open_dataset(str(tmp_path))


def test_cifars_own_class_names_may_be_replaced_by_ten_agreed_ones(tmp_path):
    (tmp_path / "data_batch_1.bin").write_bytes(bytes(RECORD))
    agreed = tuple(f"class {n}" for n in range(10))
    assert open_dataset(str(tmp_path), classes=agreed).classes == agreed
    with pytest.raises(DataError, match="10 classes, but 2 were agreed"):
        open_dataset(str(tmp_path), classes=("a", "b"))


def save(path: Path, **arrays: np.ndarray) -> Archive:
    np.savez(path, **arrays)
    return Archive(path)


def test_an_archive_is_a_file_or_the_only_one_of_a_folder(tmp_path):
    assert archive_of(tmp_path) is None and archive_of(tmp_path / "gone.npz") is None
    save(tmp_path / "one.npz", a=np.zeros(1))
    assert archive_of(tmp_path).path == archive_of(tmp_path / "one.npz").path
    with pytest.raises(DataError, match="has no array 'b'; it holds: a"):
        Archive.of(tmp_path).array("b")
    with pytest.raises(DataError, match="holds no npz file"):
        Archive.of(tmp_path / "other")


@pytest.mark.parametrize("shape", [(4,), (4, 1), (1, 4), (2, 2)])
def test_labels_are_one_for_each_image(tmp_path, shape):
    archive = save(tmp_path / "x.npz", y=np.array([3, 1, 2, 0], np.uint8).reshape(shape))
    if len(shape) == 2 and shape[1] > 1:
        with pytest.raises(DataError, match=f"y has {shape[1]} labels per image"):
            archive.labels("y")
    else:
        assert archive.labels("y").tolist() == [3, 1, 2, 0]
        assert archive.labels("y").dtype == np.int64


@pytest.mark.parametrize(
    ("labels", "classes", "highest"),
    [
        (np.array([0, 3]), 3, 2),
        (np.array([-1, 0]), None, 999),
        (np.array([0.0, 1.0]), None, 999),
        (np.array([0, 1000]), None, 999),
        (np.zeros(0, np.int64), 2, 1),
        (np.array(["a"]), 2, 1),
    ],
)
def test_other_labels_are_refused(tmp_path, labels, classes, highest):
    archive = save(tmp_path / "x.npz", y=labels)
    with pytest.raises(DataError, match=f"y must hold whole numbers from 0 to {highest}"):
        archive.labels("y", classes)


@pytest.mark.parametrize(
    ("pixels", "says"),
    [
        (np.zeros((2, 8, 8), np.int32), "must be uint8"),
        (np.zeros((2, 8), np.uint8), "images x height x width"),
        (np.zeros((2, 3, 8, 8), np.uint8), "images x height x width"),
        (np.zeros((3, 8, 8), np.uint8), "has 3 images, but there are 2 labels"),
    ],
)
def test_pixels_of_another_kind_are_refused(tmp_path, pixels, says):
    reader = Pixels(save(tmp_path / "x.npz", x=pixels), "x", 2)
    with pytest.raises(DataError, match=says):
        reader.read(0)


def test_a_cut_archive_is_refused(tmp_path):
    path = tmp_path / "x.npz"
    save(path, train_images=RNG.integers(0, 256, (4, 28, 28), np.uint8), train_labels=np.arange(4))
    whole = path.read_bytes()
    path.write_bytes(whole[:-30])
    with pytest.raises(DataError, match="not an npz file, or not a whole one"):
        open_dataset(str(path))
    path.write_bytes(whole[:300] + bytes(200) + whole[500:])
    with pytest.raises(DataError, match="'train_images' is damaged"):
        open_dataset(str(path), image_size=28).train.load()


def jpeg(level: int) -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (32, 32), (level, level, level)).save(out, "JPEG")
    return out.getvalue()


@pytest.mark.parametrize("kind", [np.uint32, np.int64, np.uint64])
@pytest.mark.parametrize(
    "change",
    [lambda o: o[:-1], lambda o: o[::-1].copy(), lambda o: o + 1, lambda o: o[[0, 2, 1, 3]]],
    ids=["short", "falling", "from one", "swapped"],
)
def test_offsets_that_do_not_rise_are_refused_in_every_type(tmp_path, kind, change):
    blobs = [jpeg(40), jpeg(120), jpeg(200)]
    offsets = np.cumsum([0, *map(len, blobs)])
    everything = np.frombuffer(b"".join(blobs), np.uint8)
    labels = np.arange(3, dtype=np.uint8)
    path = tmp_path / "x.npz"
    save(path, train_jpeg=everything, train_offsets=offsets.astype(kind), train_labels=labels)
    images = open_dataset(str(path), image_size=32).train.load().images
    assert [round(float(image.float().mean()), -1) for image in images] == [40, 120, 200]
    save(
        path, train_jpeg=everything, train_offsets=change(offsets.astype(kind)), train_labels=labels
    )
    with pytest.raises(DataError, match="train_offsets must be 4 rising whole numbers, from 0 on"):
        open_dataset(str(path))


def test_offsets_that_are_no_whole_numbers_are_refused(tmp_path):
    blob = jpeg(40)
    path = tmp_path / "x.npz"
    save(
        path,
        train_jpeg=np.frombuffer(blob, np.uint8),
        train_offsets=np.array([0.0, len(blob)]),
        train_labels=np.zeros(1, np.uint8),
    )
    with pytest.raises(DataError, match="rising whole numbers"):
        open_dataset(str(path))
