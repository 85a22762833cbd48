"""Sets of image files: who belongs together, what may be shown, and odd folders and manifests."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from learning.data import DataError, open_dataset
from learning.data.dicom import _first, is_dicom, patient
from learning.data.files import (
    Entry,
    guess_channels,
    harmless_columns,
    holds,
    opaque_groups,
    words,
)
from tests.learning.data_files import class_folders, manifest, picture

identities = st.lists(
    st.lists(
        st.tuples(st.sampled_from(["group", "patient_id"]), st.sampled_from("abcd")), max_size=2
    ).map(tuple),
    max_size=12,
)


def linked(own: list[tuple[tuple[str, str], ...]]) -> list[set[int]]:
    """For each image, the images that it is linked to: by growing sets until nothing is added."""
    homes = [{row} for row in range(len(own))]
    for _ in own:
        for home in homes:
            known = {identity for row in home for identity in own[row]}
            home |= {row for row, mine in enumerate(own) if known & set(mine)}
    return homes


@settings(deadline=None, max_examples=50)
@given(identities)
def test_groups_are_the_images_that_identities_link(own):
    groups = opaque_groups(own)
    if not any(own):
        assert groups is None
        return
    for row, home in enumerate(linked(own)):
        assert set(np.flatnonzero(groups == groups[row]).tolist()) == home
    # numbered in order of appearance: the names say nothing of the identifiers
    assert list(dict.fromkeys(groups.tolist())) == [f"g{n}" for n in range(len(set(groups)))]


def test_a_group_and_a_patient_of_the_same_name_are_two():
    groups = opaque_groups([(("group", "7"),), (("patient_id", "7"),)])
    assert groups.tolist() == ["g0", "g1"]


@pytest.mark.parametrize(
    ("text", "identifier", "found"),
    [
        ("scan-of-ANN_77.png", "ann 77", True),
        ("scan-of-ann-770.png", "ann-77", False),
        ("xann-77", "ann-77", False),
        ("77/ann.png", "ann-77", False),
        ("Müller/1.png", "MÜLLER", True),
        ("anything", "--", False),
        ("anything", "", False),
        ("12.png", "1", False),
    ],
)
def test_identifiers_are_found_as_whole_words_in_any_spelling(text, identifier, found):
    assert holds(text, identifier) is found


def test_words_are_lower_case_with_a_space_around_each():
    assert words("A_b-C.d 1") == " a b c d 1 " and words("") == "  "


def entries(columns: dict[str, list[str]], secrets: tuple[str, ...] = ()) -> list[Entry]:
    count = len(next(iter(columns.values())))
    return [
        Entry(
            Path("x.png"),
            "a",
            (("patient_id", f"P{row:03}"),),
            secrets,
            {name: values[row] for name, values in columns.items()},
        )
        for row in range(count)
    ]


@pytest.mark.parametrize(
    "name",
    [
        "id",
        "Name",
        "patient",
        "patient_age",
        "subject_no",
        "MRN",
        "date_of_birth",
        "dob",
        "sha256",
        "image_hash",
        "file_name",
        "original_name",
        "StudyUID_uid",
        "first_name",
        " path ",
    ],
)
def test_columns_whose_name_speaks_of_identity_are_dropped(name):
    assert harmless_columns(entries({name: ["x", "y"], "site": ["s", "t"]})) == {"site": ["s", "t"]}


@pytest.mark.parametrize("name", ["site", "view", "age", "sex", "source", "hidden", "scanner"])
def test_columns_that_describe_images_are_kept(name):
    assert name in harmless_columns(entries({name: ["x", "y"]}))


@pytest.mark.parametrize(("holding", "kept"), [(0, True), (2, True), (3, False), (100, False)])
def test_a_column_is_dropped_if_more_than_one_cell_in_fifty_names_its_patient(holding, kept):
    cells = [f"scan of p{row:03}" if row < holding else "scan" for row in range(100)]
    assert ("note" in harmless_columns(entries({"note": cells}))) is kept


def test_a_cell_that_names_another_rows_patient_is_no_sign():
    assert "note" in harmless_columns(entries({"note": ["P001", "P000"]}))


def test_a_secret_word_counts_like_an_identifier():
    assert not harmless_columns(entries({"note": ["Zelda, left", "left"]}, secrets=("zelda",)))


def test_no_entries_have_no_columns():
    assert harmless_columns([]) == {} and opaque_groups([]) is None


def test_the_channels_are_what_most_of_the_readable_headers_say(tmp_path):
    def save(name: str, mode: str) -> Path:
        Image.new(mode, (8, 8)).save(tmp_path / name)
        return tmp_path / name

    grey = [save(f"g{n}.png", "L") for n in range(2)]
    colour = [save(f"c{n}.png", mode) for n, mode in enumerate(["RGB", "RGBA", "P"])]
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"no image")
    assert guess_channels(grey) == guess_channels([]) == guess_channels([broken]) == 1
    assert guess_channels(colour) == 3
    assert guess_channels([*grey, *colour[:2]]) == 1, "a tie is grey"
    assert guess_channels([*grey, *colour]) == 3
    assert guess_channels([broken, broken, colour[0]]) == 3


def test_hidden_files_and_other_suffixes_are_no_images(tmp_path):
    class_folders(tmp_path, {"a": 1, "b": 1, ".hidden": 1})
    picture(3).save(tmp_path / "a" / ".thumb.png")
    (tmp_path / "a" / "notes.txt").write_text("x")
    (tmp_path / "a" / "readme").write_text("x")
    (tmp_path / "a" / ".cache").mkdir()
    picture(3).save(tmp_path / "a" / ".cache" / "x.png")
    data = open_dataset(str(tmp_path), image_size=28)
    assert data.classes == ("a", "b") and data.train.labels.tolist() == [0, 1]


def test_images_at_any_depth_belong_to_the_first_folders_class_in_sorted_order(tmp_path):
    for place in ("b/x/2.PNG", "b/1.png", "a/z/y/x.png"):
        (tmp_path / place).parent.mkdir(parents=True, exist_ok=True)
        picture(1).save(tmp_path / place, "PNG")
    data = open_dataset(str(tmp_path), image_size=28)
    assert [data.train.reader.name(row) for row in range(3)] == [
        "a/z/y/x.png",
        "b/1.png",
        "b/x/2.PNG",
    ]
    assert data.train.labels.tolist() == [0, 1, 1]


def test_the_val_folder_is_left_aside(tmp_path):
    for part, counts in (("train", {"a": 2}), ("val", {"a": 4, "other": 1}), ("test", {"a": 1})):
        class_folders(tmp_path / part, counts)
    data = open_dataset(str(tmp_path), image_size=28)
    assert data.classes == ("a",) and (len(data.train), len(data.test)) == (2, 1)


def test_a_file_that_goes_after_opening_is_skipped_and_named(tmp_path):
    class_folders(tmp_path, {"a": 2})
    data = open_dataset(str(tmp_path), image_size=28)
    before = data.train.reader.stamp(1)
    (tmp_path / "a" / "001.png").unlink()
    (skipped,) = data.train.load().skipped
    assert (skipped.name, skipped.reason) == ("a/001.png", "the file is gone")
    assert data.train.reader.stamp(1) != before and data.train.reader.stamp(1).endswith(":gone")


@pytest.mark.parametrize("split", ["val", "VALID", " Validation "])
def test_a_manifests_validation_images_are_left_aside(tmp_path, split):
    manifest(tmp_path, "file,class,split", "0.png,a,train", f"1.png,b,{split}", "2.png,a, TEST ")
    data = open_dataset(str(tmp_path), image_size=28)
    assert data.classes == ("a",) and (len(data.train), len(data.test)) == (1, 1)


def test_a_manifest_of_a_spreadsheet_program_is_read(tmp_path):
    """With a byte order mark, Windows line ends, quotes, and spaces around the values."""
    manifest(tmp_path, "file,class", "x.png,a")
    text = '\ufefffile,class,site\r\n" x.png "," a ","north, old"\r\n'
    (tmp_path / "manifest.csv").write_bytes(text.encode())
    data = open_dataset(str(tmp_path), image_size=28)
    assert data.classes == ("a",) and data.column("site") == ["north, old"]


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "no column 'file'; its columns are: none"),
        (b"file,class\n", "names no image to train on"),
        (b"file,class\nx.png,\xff\n", "is not a CSV file in UTF-8"),
        (b"file,class\n.,a\n", "line 2: file must be a path inside"),
        (b"file,class\na/../../x.png,a\n", "line 2: file must be a path inside"),
        (b"file,class\n,a\n", "line 2: file must be a path inside"),
        (b"file,class,class\nx.png,a,b\n", "names the column 'class' twice"),
    ],
)
def test_a_broken_manifest_is_refused_in_a_sentence(tmp_path, content, says):
    picture(0).save(tmp_path / "x.png")
    (tmp_path / "manifest.csv").write_bytes(content)
    with pytest.raises(DataError, match=says) as error:
        open_dataset(str(tmp_path))
    assert str(tmp_path / "manifest.csv") in str(error.value)


def test_a_patient_of_a_manifest_is_one_group_in_both_parts(tmp_path):
    manifest(
        tmp_path,
        "file,class,split,patient_id",
        "0.png,a,train,ann",
        "1.png,b,train,bob",
        "2.png,a,test,bob",
    )
    data = open_dataset(str(tmp_path), image_size=28)
    assert data.test.groups[0] == data.train.groups[1] != data.train.groups[0]


@pytest.mark.parametrize(
    ("name", "content", "dicom"),
    [
        ("x.dcm", b"", True),
        ("x.DICOM", b"", True),
        ("x.png", bytes(128) + b"DICM", False),
        ("IM0001", bytes(128) + b"DICM", True),
        ("IM0002", bytes(128) + b"DICO", False),
        ("IM0003", b"DICM", False),
    ],
)
def test_dicom_is_told_by_suffix_or_preamble(tmp_path, name, content, dicom):
    (tmp_path / name).write_bytes(content)
    assert is_dicom(tmp_path / name) is dicom


def test_an_unreadable_header_names_nobody(tmp_path):
    (tmp_path / "x.dcm").write_bytes(b"not dicom")
    assert patient(tmp_path / "x.dcm") == patient(tmp_path / "gone.png") == ((), ())
    assert not is_dicom(tmp_path / "gone")


@pytest.mark.parametrize(
    ("value", "number"), [(None, None), ("", None), ("40.5", 40.5), ([40, 30], 40.0), (7, 7.0)]
)
def test_a_window_is_the_first_number(value, number):
    assert _first(value) == number
