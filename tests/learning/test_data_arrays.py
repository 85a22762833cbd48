"""idx files, CIFAR-10 and npz archives: sets whose files hold numbers."""

import gzip
import io
import os
import pickle
import struct
from pathlib import Path

import numpy as np
import pytest

from learning.data import DataError, open_dataset
from tests.learning.data_files import picture

RNG = np.random.default_rng(0)


def idx(array: np.ndarray) -> bytes:
    return (
        struct.pack(f">I{array.ndim}I", 0x800 | array.ndim, *array.shape)
        + array.astype(np.uint8).tobytes()
    )


def idx_folder(root: Path, count: int = 6, end: str = "") -> Path:
    root.mkdir(exist_ok=True)
    write = (lambda path, data: path.write_bytes(gzip.compress(data))) if end else Path.write_bytes
    for part, number in (("train", count), ("t10k", 2)):
        images = RNG.integers(0, 256, (number, 28, 28))
        write(root / f"{part}-images-idx3-ubyte{end}", idx(images))
        write(root / f"{part}-labels-idx1-ubyte{end}", idx(np.arange(number) % 3))
    return root


@pytest.mark.parametrize("end", ["", ".gz"])
def test_idx(tmp_path, end):
    data = open_dataset(str(idx_folder(tmp_path / "set", end=end)), image_size=28)
    assert data.classes == ("0", "1", "2") and data.channels == 1 and len(data.test) == 2
    assert data.train.labels.tolist() == [0, 1, 2, 0, 1, 2]
    body = (tmp_path / "set" / f"train-images-idx3-ubyte{end}").read_bytes()
    pixels = np.frombuffer((gzip.decompress(body) if end else body)[16:], np.uint8).reshape(
        6, 28, 28
    )
    assert np.array_equal(data.train.load([4, 1]).images[:, 0].numpy(), pixels[[4, 1]])
    assert open_dataset(str(tmp_path / "set"), image_size=32, channels=3).train.load(
        [0]
    ).images.shape == (1, 3, 32, 32)
    assert open_dataset(str(idx_folder(tmp_path / "Fashion-x"))).classes[9] == "ankle-boot"
    with pytest.raises(DataError, match="3 classes, but 2 were agreed"):
        open_dataset(str(tmp_path / "set"), classes=("a", "b"))


@pytest.mark.parametrize(
    ("file", "change", "words"),
    [
        (
            "train-images-idx3-ubyte",
            lambda b: b"\0\0\x08\x01" + b[4:],
            "magic number is 0x00000801, not 0x00000803",
        ),
        ("train-labels-idx1-ubyte", lambda b: b"PK\3\4" + b[4:], "magic number"),
        ("train-images-idx3-ubyte", lambda b: b[:5], "truncated"),
        ("train-images-idx3-ubyte", lambda b: b[:-1], "truncated: its header announces 4704 bytes"),
        ("train-labels-idx1-ubyte", lambda b: b + b"x", "longer than its header says"),
        (
            "train-labels-idx1-ubyte",
            lambda b: idx(np.zeros(5)),
            "holds 6 images, but its label file holds 5",
        ),
        ("train-labels-idx1-ubyte", None, "needs both"),
    ],
)
def test_idx_errors(tmp_path, file, change, words):
    path = idx_folder(tmp_path) / file
    path.write_bytes(change(path.read_bytes())) if change else path.unlink()
    with pytest.raises(DataError, match=words):
        open_dataset(str(tmp_path), image_size=28).train.load()


def test_truncated_gzip(tmp_path):
    path = idx_folder(tmp_path, end=".gz") / "train-images-idx3-ubyte.gz"
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(DataError, match="truncated or damaged"):
        open_dataset(str(tmp_path), image_size=28).train.load()
    path.write_bytes(b"not gzip")
    with pytest.raises(DataError, match="truncated or damaged"):
        open_dataset(str(tmp_path))


def test_cifar_binary_batches(tmp_path):
    place = tmp_path / "cifar-10-batches-bin"
    place.mkdir()
    records = RNG.integers(0, 256, (5, 3073), np.uint8)
    records[:, 0] = [3, 9, 0, 1, 2]
    (place / "data_batch_1.bin").write_bytes(records[:2].tobytes())
    (place / "data_batch_2.bin").write_bytes(records[2:].tobytes())
    (place / "test_batch.bin").write_bytes(records[:1].tobytes())
    data = open_dataset(str(tmp_path), image_size=32)
    assert (
        data.channels == 3
        and data.classes[3] == "cat"
        and data.train.labels.tolist() == [3, 9, 0, 1, 2]
    )
    assert np.array_equal(
        data.train.load([2, 0]).images.numpy(), records[[2, 0], 1:].reshape(2, 3, 32, 32)
    )
    assert data.train.reader.name(2) == "data_batch_2.bin, image 0"
    (place / "data_batch_2.bin").write_bytes(records.tobytes()[:-5])
    with pytest.raises(DataError, match=r"data_batch_2\.bin is truncated"):
        open_dataset(str(tmp_path))


def test_pickled_cifar_is_refused_unread(tmp_path):
    class Bomb:
        def __reduce__(self):
            return (Path.touch, (tmp_path / "exploded",))

    (tmp_path / "data_batch_1").write_bytes(pickle.dumps({b"data": Bomb()}))
    with pytest.raises(
        DataError, match=r"pickles .* take the binary version \(cifar-10-binary.tar.gz"
    ):
        open_dataset(str(tmp_path))
    assert not (tmp_path / "exploded").exists()


def jpeg(seed: int) -> bytes:
    out = io.BytesIO()
    picture(seed, 32, colour=True).save(out, "JPEG")
    return out.getvalue()


def test_npz_of_jpegs(tmp_path):
    blobs = [jpeg(i) for i in range(4)]
    blobs[2] = b"broken"
    path = tmp_path / "cifar10-jpeg.npz"

    def save(**other):
        arrays = {
            "train_jpeg": np.frombuffer(b"".join(blobs), np.uint8),
            "train_offsets": np.cumsum([0] + [len(blob) for blob in blobs]),
            "train_labels": np.array([0, 1, 2, 9], np.uint8),
        }
        np.savez(path, **{**arrays, **other})

    save()
    for place in (path, tmp_path):
        data = open_dataset(str(place), image_size=32)
        loaded = data.train.load()
        assert (
            loaded.images.shape == (3, 3, 32, 32)
            and loaded.labels.tolist() == [0, 1, 9]
            and data.test is None
        )
        assert [skipped.name for skipped in loaded.skipped] == ["cifar10-jpeg.npz, train image 2"]
    save(train_labels=np.array([0, 1, 2, 10]))
    with pytest.raises(DataError, match="whole numbers from 0 to 9"):
        open_dataset(str(path))
    save(train_offsets=np.array([0, 5, 4, 6, 7]))
    with pytest.raises(DataError, match="train_offsets must be 5 rising whole numbers"):
        open_dataset(str(path))
    save(train_jpeg=np.zeros(3, np.uint8))
    with pytest.raises(DataError, match="train_jpeg is not as long"):
        open_dataset(str(path)).train.load()


def test_medmnist(tmp_path):
    path = tmp_path / "pneumoniamnist.npz"
    arrays = {}
    for part, count in (("train", 5), ("val", 2), ("test", 3)):
        arrays[f"{part}_images"] = RNG.integers(0, 256, (count, 28, 28), np.uint8)
        arrays[f"{part}_labels"] = (np.arange(count) % 2).astype(np.uint8)[:, None]
    np.savez(path, **arrays)
    data = open_dataset("pneumoniamnist.npz", image_size=28, root=tmp_path)
    assert data.classes == ("normal", "pneumonia") and data.channels == 1
    assert data.train.labels.tolist() == [0, 1, 0, 1, 0] and len(data.test) == 3
    assert np.array_equal(data.train.load().images[:, 0].numpy(), arrays["train_images"])
    np.savez(path, **{**arrays, "train_labels": np.zeros((5, 14), np.uint8)})
    with pytest.raises(DataError, match="14 labels per image"):
        open_dataset(str(path))
    np.savez(
        path, train_images=RNG.integers(0, 256, (4, 28, 28, 3), np.uint8), train_labels=np.arange(4)
    )
    colour = open_dataset(str(path), image_size=28)
    assert colour.channels == 3 and colour.classes == ("0", "1", "2", "3")
    np.savez(path, **{**arrays, "train_images": arrays["train_images"].astype(np.float32)})
    with pytest.raises(DataError, match="must be uint8"):
        open_dataset(str(path))


def test_npz_errors(tmp_path):
    path = tmp_path / "x.npz"
    path.write_bytes(b"PK\3\4 not a zip")
    with pytest.raises(DataError, match="not an npz file"):
        open_dataset(str(path))
    np.savez(path, something=np.zeros(3))
    with pytest.raises(DataError, match="it holds: something"):
        open_dataset(str(path))
    np.savez(
        path,
        train_images=np.zeros((1, 28, 28), np.uint8),
        train_labels=np.array([{}], dtype=object),
    )
    with pytest.raises(DataError, match="damaged, or holds Python objects"):
        open_dataset(str(path))
    np.savez(tmp_path / "y.npz", a=np.zeros(1))
    with pytest.raises(DataError, match=r"2 npz files; name one of them: x.npz, y.npz"):
        open_dataset(str(tmp_path))


@pytest.mark.skipif(
    "FLOP_DATA" not in os.environ, reason="the same is tested on synthetic files above"
)
@pytest.mark.parametrize(
    ("name", "classes", "channels", "counts"),
    [
        ("fashion-mnist", 10, 1, (60_000, 10_000)),
        ("cifar10", 10, 3, (50_000, 10_000)),
        ("pneumoniamnist", 2, 1, (4_708, 624)),
    ],
)
def test_real_sets(name, classes, channels, counts):
    root = Path(os.environ["FLOP_DATA"])
    if not (root / name).is_dir():
        pytest.skip(f"FLOP_DATA has no {name}")
    data = open_dataset(name, image_size=28, root=root)
    assert (
        len(data.classes) == classes
        and data.channels == channels
        and (len(data.train), len(data.test)) == counts
    )
    loaded = data.train.load(range(0, 1000, 50))
    assert (
        loaded.images.shape == (20, channels, 28, 28)
        and not loaded.skipped
        and loaded.images.float().std() > 20
    )
