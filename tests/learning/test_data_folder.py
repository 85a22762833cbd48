import os
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from learning.data import DataError, open_dataset
from tests.learning.data_files import class_folders, manifest, picture


def test_class_folders_with_and_without_parts(tmp_path):
    class_folders(tmp_path / "one", {"b": 3, "a": 2, "empty": 0})
    flat = open_dataset(str(tmp_path / "one"), image_size=28)
    assert flat.classes == ("a", "b", "empty") and flat.test is None and flat.channels == 1
    assert flat.train.labels.tolist() == [0, 0, 1, 1, 1] and flat.train.groups is None
    class_folders(tmp_path / "two" / "train", {"a": 2, "b": 1})
    class_folders(tmp_path / "two" / "test", {"b": 1, "c": 1})
    both = open_dataset("two", image_size=28, root=tmp_path)
    assert both.classes == ("a", "b", "c") and both.name == "two"
    assert both.train.labels.tolist() == [0, 0, 1] and both.test.labels.tolist() == [1, 2]
    loaded = both.train.load([2, 0])
    assert loaded.images.dtype == torch.uint8 and loaded.images.shape == (2, 1, 28, 28)
    assert loaded.labels.tolist() == [1, 0] and loaded.labels.dtype == torch.int64
    assert loaded.kept_rows.tolist() == [2, 0] and loaded.skipped == []
    assert torch.equal(loaded.images[0], both.train.load([2]).images[0])


def test_a_damaged_image_is_skipped_and_named(tmp_path):
    class_folders(tmp_path, {"a": 3, "b": 2})
    (tmp_path / "a" / "001.png").write_bytes((tmp_path / "a" / "001.png").read_bytes()[:200])
    (tmp_path / "b" / "000.png").write_bytes(b"not an image")
    loaded = open_dataset(str(tmp_path), image_size=28).train.load()
    assert [skipped.name for skipped in loaded.skipped] == ["a/001.png", "b/000.png"]
    assert loaded.kept_rows.tolist() == [0, 2, 4] and loaded.labels.tolist() == [0, 0, 1]
    assert len(loaded.images) == 3
    # the pixels stay with their labels
    assert torch.equal(
        loaded.images[2:], open_dataset(str(tmp_path), image_size=28).train.load([4]).images
    )


def test_colour_is_converted_by_the_documented_rule(tmp_path):
    (tmp_path / "a").mkdir()
    Image.new("RGB", (50, 30), (200, 100, 50)).save(tmp_path / "a" / "0.png")
    Image.new("RGBA", (50, 30), (200, 100, 50, 7)).save(tmp_path / "a" / "1.png")
    for number in range(2, 7):
        Image.new("L", (20, 60), 90).save(tmp_path / "a" / f"{number}.png")
    grey = open_dataset(str(tmp_path), image_size=28)
    assert grey.channels == 1  # most are grey
    images = grey.train.load().images
    assert (
        images[0].unique().tolist()
        == images[1].unique().tolist()
        == [round(0.299 * 200 + 0.587 * 100 + 0.114 * 50)]
    )
    colour = open_dataset(str(tmp_path), image_size=28, channels=3).train.load().images
    assert colour.shape == (7, 3, 28, 28)
    assert colour[0, :, 5, 5].tolist() == [200, 100, 50] and colour[2, :, 5, 5].tolist() == [
        90,
        90,
        90,
    ]


def test_colour_sets_are_recognised(tmp_path):
    assert open_dataset(str(class_folders(tmp_path, {"a": 2, "b": 2}, colour=True))).channels == 3


def test_sixteen_bits_are_stretched_not_cut(tmp_path):
    (tmp_path / "a").mkdir()
    ramp = np.tile(np.linspace(1000, 4000, 32).astype(np.uint16), (32, 1))
    Image.fromarray(ramp).save(tmp_path / "a" / "0.png")
    image = open_dataset(str(tmp_path), image_size=32).train.load().images[0, 0]
    assert image.min() == 0 and image.max() == 255 and 120 < image[0, 16] < 140


def test_the_whole_frame_is_resized_with_antialiasing(tmp_path):
    (tmp_path / "a").mkdir()
    board = (np.indices((256, 256)).sum(0) % 2 * 255).astype(np.uint8)
    board[:, :8] = 0
    Image.fromarray(board).save(tmp_path / "a" / "0.png")
    image = open_dataset(str(tmp_path), image_size=32).train.load().images[0, 0].float()
    assert (image[:, 4:] - 127.5).abs().max() < 8  # a checkerboard averages out
    assert image[:, 0].max() < 40  # the left edge is still there


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda root: None, "empty folder"),
        (lambda root: (root / "notes.txt").write_text("x"), "no class folders"),
        (lambda root: (root / "a").mkdir(), "no image to train on"),
        (lambda root: class_folders(root / "test", {"a": 1}), "no image"),
    ],
)
def test_errors(tmp_path, make, words):
    make(tmp_path)
    if words == "no image" and (tmp_path / "test").exists():
        (tmp_path / "train").mkdir()
    with pytest.raises(DataError, match=words) as error:
        open_dataset(str(tmp_path))
    assert str(tmp_path) in str(error.value) and "\n" not in str(error.value)


def test_wrong_path_and_arguments(tmp_path):
    with pytest.raises(DataError, match=r"no data set 'covid', neither under"):
        open_dataset("covid", root=tmp_path)
    with pytest.raises(DataError, match="FLOP_DATA"):
        open_dataset("covid")
    with pytest.raises(DataError, match="image_size"):
        open_dataset("phantom-cxr", image_size=4)
    with pytest.raises(DataError, match="channels"):
        open_dataset("phantom-cxr", channels=2)
    (tmp_path / "x.jpg").write_bytes(b"")
    with pytest.raises(DataError, match="a file of no known kind"):
        open_dataset(str(tmp_path / "x.jpg"))


def test_agreed_classes_fix_the_labels(tmp_path):
    class_folders(tmp_path, {"b": 1, "c": 1})
    assert open_dataset(str(tmp_path), classes=("c", "a", "b")).train.labels.tolist() == [2, 0]
    with pytest.raises(DataError, match="class c, but the agreed classes are a, b"):
        open_dataset(str(tmp_path), classes=("a", "b"))


HEADER = "file,class,split,patient_id,group,source,note"


def test_manifest(tmp_path):
    manifest(
        tmp_path,
        HEADER,
        "x/0.png,sick,train,ann-77,,north,first",
        "x/1.png,well,,ann-77,G1,south,",
        "x/2.png,well,train,bob-88,G1,south,b",
        "x/3.png,well,test,carl-99,,south,",
        "x/4.png,well,train,,,south,",
        "x/5.png,well,val,,,south,",
    )
    data = open_dataset(str(tmp_path), image_size=28)
    assert data.classes == ("sick", "well")
    assert data.train.labels.tolist() == [0, 1, 1, 1] and len(data.test) == 1  # val is left aside
    a, b, c, d = data.train.groups
    assert a == b == c != d  # rows 0 and 1 share the patient, 1 and 2 the group
    assert data.column("source") == ["north", "south", "south", "south"]
    assert set(data.train.columns) == {"source", "note"}
    with pytest.raises(
        DataError, match="no column 'site' to divide by; its columns are: note, source"
    ):
        data.column("site")


def test_identifiers_do_not_leave_the_loader(tmp_path):
    """Not in groups, columns, names of skipped images, representations, errors or caches."""
    lines = [f"x/{n}-zqx{n}.png,a,train,ZQX{n},,s,scan of zqx{n} from the left" for n in range(4)]
    manifest(tmp_path, HEADER, *lines)
    (tmp_path / "x" / "2-zqx2.png").write_bytes(b"broken")
    cache = tmp_path / "cache" / "images.safetensors"
    data = open_dataset(str(tmp_path), image_size=28)
    loaded = data.train.cached(cache).load()
    assert len(loaded.skipped) == 1 and "image 3" in loaded.skipped[0].name
    seen = " ".join(
        [
            repr(data),
            repr(loaded.skipped),
            repr(data.train.groups),
            str(dict(data.train.columns)),
            repr(data.train.reader),
        ]
    )
    assert "zqx" not in seen.lower()
    assert "note" not in data.train.columns
    assert b"zqx" not in cache.read_bytes().lower() and b".png" not in cache.read_bytes()
    (tmp_path / "x" / "1-zqx1.png").unlink()
    with pytest.raises(
        DataError, match=r"names 1 files that are not there, the first in line 3"
    ) as error:
        open_dataset(str(tmp_path))
    assert "zqx1" not in str(error.value).lower()


@pytest.mark.parametrize(
    ("header", "line", "words"),
    [
        ("path,class", "x.png,a", "no column 'file'; its columns are: path, class"),
        ("file,label", "x.png,a", "no column 'class'"),
        ("file,class,split", "x.png,a,dev", "line 2: split must be"),
        ("file,class", "x.png,a,b", "line 2: not as many cells"),
        ("file,class,split", "x.png,a", "line 2: not as many cells"),
        ("file,class", "../x.png,a", "line 2: file must be a path inside"),
        ("file,class", "/x.png,a", "line 2: file must be a path inside"),
        ("file,class", "x.png,", "line 2: the class is empty"),
        ("file,class,split", "x.png,a,test", "no image to train on"),
    ],
)
def test_manifest_errors(tmp_path, header, line, words):
    (tmp_path / "manifest.csv").write_text(f"{header}\n{line}\n")
    picture(0).save(tmp_path / "x.png")
    with pytest.raises(DataError, match=words):
        open_dataset(str(tmp_path))


def test_cache_is_used_and_renewed(tmp_path, monkeypatch):
    class_folders(tmp_path / "set", {"a": 3, "b": 2})
    (tmp_path / "set" / "a" / "001.png").write_bytes(b"broken")
    cache = tmp_path / "images.safetensors"

    def load(size=28):
        return open_dataset(str(tmp_path / "set"), image_size=size).train.cached(cache).load()

    first = load()
    before = cache.read_bytes()
    monkeypatch.setattr(
        "learning.data.files.FileReader.read", lambda *_: pytest.fail("decoded although cached")
    )
    again = load()
    assert torch.equal(first.images, again.images) and again.skipped == first.skipped
    assert torch.equal(first.labels, again.labels) and np.array_equal(
        first.kept_rows, again.kept_rows
    )
    monkeypatch.undo()
    assert load(size=32).images.shape[-1] == 32 and cache.read_bytes() != before
    picture(9).save(tmp_path / "set" / "a" / "001.png")
    assert load().skipped == []
    cache.write_bytes(b"\0" * 100)
    assert len(load().images) == 5  # a damaged cache is made anew
    assert os.listdir(tmp_path) == ["set", "images.safetensors"] or len(os.listdir(tmp_path)) == 2


def test_covidx_lists(tmp_path):
    for part, names in (("train", ["p3.png", "q x.png", "r.png"]), ("test", ["s.png"])):
        (tmp_path / part).mkdir()
        for number, name in enumerate(names):
            picture(number).save(tmp_path / part / name)
    (tmp_path / "train_split.txt").write_text(
        "3 p3.png COVID-19 cohen\n3 q x.png normal cohen\n3 r.png normal rsna\n"
    )
    (tmp_path / "test_split.txt").write_text("9 s.png normal rsna\n")
    data = open_dataset(str(tmp_path), image_size=28)
    assert (
        data.classes == ("COVID-19", "normal")
        and data.train.labels.tolist() == [0, 1, 1]
        and len(data.test) == 1
    )
    assert data.column("source") == ["cohen", "cohen", "rsna"]
    a, b, c = data.train.groups
    assert a == b != c  # patient 3 of one source is not patient 3 of another
    (tmp_path / "train_split.txt").write_text("3 p3.png COVID-19 cohen\n44 gone.png normal cohen\n")
    with pytest.raises(DataError, match="the first in line 2") as error:
        open_dataset(str(tmp_path))
    assert "44" not in str(error.value).replace(str(tmp_path), "")
    (tmp_path / "train_split.txt").write_text("p3.png COVID-19\n")
    with pytest.raises(DataError, match="line 1: needs patient"):
        open_dataset(str(tmp_path))


@pytest.mark.skipif(
    "FLOP_DATA" not in os.environ, reason="the same is tested on synthetic files above"
)
def test_real_covidx_small():
    root = Path(os.environ["FLOP_DATA"])
    if not (root / "covidx-small").is_dir():
        pytest.skip("FLOP_DATA has no covidx-small")
    data = open_dataset("covidx-small", image_size=32, root=root)
    assert data.classes == ("covid19", "normal", "pneumonia") and data.channels == 1
    assert (len(data.train), len(data.test)) == (7884, 2093) and len(
        set(data.column("source"))
    ) == 8
    assert not set(data.train.groups) & set(data.test.groups)
    assert "original_name" not in data.train.columns and "patient_id" not in data.train.columns
    loaded = data.train.load(np.arange(0, 7884, 400))
    assert loaded.images.shape == (20, 1, 32, 32) and not loaded.skipped


def test_a_set_without_one_usable_image_is_an_error(tmp_path):
    class_folders(tmp_path, {"a": 2})
    (tmp_path / "a" / "000.png").write_bytes(b"broken")
    with pytest.raises(DataError, match=r"Not one of 1 images can be used; the first, a/000.png"):
        open_dataset(str(tmp_path)).train.load([0])
    assert len(open_dataset(str(tmp_path)).train.load([]).images) == 0
