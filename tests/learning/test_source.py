"""Where a data set is looked for, and what is said of the places where it is not."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from learning import data
from learning.data import DataError, open_dataset
from learning.data.base import Dataset
from learning.data.source import Format, Source
from tests.learning.data_files import class_folders


def test_a_name_under_the_root_goes_before_a_path(tmp_path, monkeypatch):
    class_folders(tmp_path / "root" / "set", {"inside": 1})
    class_folders(tmp_path / "here" / "set", {"outside": 1})
    class_folders(tmp_path / "here" / "other", {"a": 1})
    monkeypatch.chdir(tmp_path / "here")
    assert Source("set", root=tmp_path / "root").path == tmp_path / "root" / "set"
    assert Source("set").path == tmp_path / "here" / "set"
    assert Source("other", root=tmp_path / "root").path == tmp_path / "here" / "other"
    assert Source(str(tmp_path / "here" / "other"), root=tmp_path / "root").path.name == "other"


def test_a_path_may_begin_at_home(tmp_path, monkeypatch):
    class_folders(tmp_path / "images", {"a": 1})
    monkeypatch.setenv("HOME", str(tmp_path))
    assert Source("~/images").path == tmp_path / "images"


@pytest.mark.parametrize(
    ("spec", "says"),
    [
        ("", "The data set has no name"),
        ("gone", "no data set 'gone', and FLOP_DATA names no folder to look in"),
        ("~no-such-user/images", "no data set '~no-such-user/images'"),
        ("x" * 300, "cannot be read: File name too long"),
        ("a\0b", "There is no data set"),
    ],
)
def test_a_place_that_is_not_there_is_refused_in_a_sentence(spec, says):
    with pytest.raises(DataError, match=says) as error:
        open_dataset(spec)
    assert str(error.value).endswith(".") and error.value.exit_code == 2


def test_with_a_root_the_sentence_names_it(tmp_path):
    with pytest.raises(DataError) as error:
        open_dataset("gone", root=tmp_path)
    assert f"neither under {tmp_path} nor as a path" in str(error.value)


def test_an_empty_folder_is_refused_even_if_the_path_has_images(tmp_path, monkeypatch):
    (tmp_path / "root" / "set").mkdir(parents=True)
    class_folders(tmp_path / "here" / "set", {"a": 1})
    monkeypatch.chdir(tmp_path / "here")
    with pytest.raises(DataError, match=r"root/set is an empty folder"):
        open_dataset("set", root=tmp_path / "root")


def test_formats_are_asked_in_their_order_and_the_folder_last():
    formats = data.formats()
    names = [one.name for one in formats]
    assert names[-1] == "folder" and len(set(names)) == len(names)
    assert all(one.about and not one.about.endswith(".") for one in formats)
    assert formats[-1].recognises(Source("whatever"))


def test_the_first_format_that_recognises_a_source_opens_it(tmp_path, monkeypatch):
    class_folders(tmp_path, {"a": 1})
    index = data.arrays(np.zeros((1, 8, 8), np.uint8), [0]).train

    def opens(name: str) -> Format:
        mine = Dataset(name, ("a", "b"), 1, 28, index)
        return Format(name, "", lambda source: name in source.spec, lambda _: mine)

    monkeypatch.setattr(data, "formats", lambda: [opens("one"), opens("set"), opens("se")])
    assert open_dataset("the set").name == "set"


@pytest.mark.parametrize(
    ("how", "says"),
    [({"image_size": 7}, "8"), ({"image_size": 2000}, "1024"), ({"channels": 4}, "channels")],
)
def test_sizes_and_channels_have_limits(how, says):
    with pytest.raises(DataError, match=says):
        open_dataset("phantom-cxr:9", **how)


def test_a_source_is_absolute_whatever_the_folder_it_is_named_from(tmp_path, monkeypatch):
    class_folders(tmp_path / "set", {"a": 1})
    monkeypatch.chdir(tmp_path)
    found = Source("set").path
    assert found.is_absolute() and found == Path(tmp_path, "set")
