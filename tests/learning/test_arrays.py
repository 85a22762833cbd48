"""Own arrays as a data set: what is taken, what is refused and in which words."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from learning.data import DataError, arrays

GREY = np.arange(4 * 32 * 32, dtype=np.uint8).reshape(4, 32, 32)
LABELS = [0, 1, 0, 1]
NAMES = ("normal", "ill")


def test_grey_bytes_come_back_as_they_are():
    data = arrays(GREY, LABELS, NAMES)
    assert (data.channels, data.image_size, data.classes) == (1, 32, NAMES)
    loaded = data.train.load()
    assert np.array_equal(loaded.images[:, 0].numpy(), GREY) and loaded.labels.tolist() == LABELS


def test_colour_tensors_and_their_test_part():
    x = torch.randint(0, 256, (4, 3, 16, 16), dtype=torch.uint8)
    data = arrays(x, torch.tensor(LABELS), NAMES, test=(x[:1], [1]))
    assert data.channels == 3 and torch.equal(data.train.load().images, x)
    assert data.test is not None and data.test.load().labels.tolist() == [1]


@pytest.mark.parametrize("kind", [np.float32, np.float64, np.float16])
def test_floats_are_rounded_to_bytes(kind):
    x = (GREY / 255).astype(kind)
    assert np.array_equal(arrays(x, LABELS).train.load().images[:, 0].numpy(), GREY)


def test_bfloat16_tensors_are_taken_like_other_floats():
    x = torch.tensor([0.0, 0.5, 1.0]).repeat(4, 32, 11)[:, :, :32].to(torch.bfloat16)
    loaded = arrays(x, LABELS).train.load().images
    assert loaded[0, 0, 0, :3].tolist() == [0, 128, 255]


def test_tensors_that_need_a_gradient_are_taken_too():
    x = torch.zeros(4, 32, 32, requires_grad=True)
    assert arrays(x, LABELS).train.load().images.sum() == 0


def test_non_contiguous_images_are_stamped_and_read_as_they_look():
    turned = GREY.transpose(0, 2, 1)
    index = arrays(turned, LABELS).train
    assert np.array_equal(index.load().images[:, 0].numpy(), turned)
    assert index.reader.stamp(2) == arrays(turned.copy(), LABELS).train.reader.stamp(2)


def test_the_order_of_the_identifiers_does_not_show_in_the_groups():
    names = [arrays(GREY, LABELS, groups=list(one)).train.groups for one in ("abca", "zyxz")]
    assert names[0] is not None and names[0].tolist() == list(names[1])


def test_classes_are_numbers_if_none_are_named():
    assert arrays(GREY, [0, 2, 0, 1]).classes == ("0", "1", "2")


def test_groups_are_opaque_and_columns_are_text():
    data = arrays(
        GREY, LABELS, groups=["MRN7", "MRN8", "MRN7", "MRN9"], columns={"site": [1, 2] * 2}
    )
    assert data.train.groups is not None and "MRN" not in str(data.train.groups)
    assert data.train.groups[0] == data.train.groups[2] != data.train.groups[1]
    assert data.column("site") == ["1", "2", "1", "2"]


def test_other_shapes_than_squares_need_a_size():
    wide = np.zeros((4, 32, 48), np.uint8)
    assert arrays(wide, LABELS, image_size=28).train.load().images.shape == (4, 1, 28, 28)
    with pytest.raises(DataError, match="32 x 48 pixels; give image_size"):
        arrays(wide, LABELS)


def test_a_changed_image_changes_the_stamp():
    other = GREY.copy()
    other[1, 0, 0] += 1
    stamps = [arrays(x, LABELS).train.reader.stamp(1) for x in (GREY, GREY.copy(), other)]
    assert stamps[0] == stamps[1] != stamps[2]


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"x": GREY[0]}, "x has the shape 32 x 32; it must be N x H x W"),
        ({"x": np.zeros((4, 32, 32, 3), np.uint8)}, "with the channels last; move them"),
        ({"x": np.zeros((4, 2, 32, 32), np.uint8)}, "with 1 or 3 channels"),
        ({"x": GREY.astype(np.int64)}, "x is int64; it must be uint8 in 0..255, or floats"),
        ({"x": GREY.astype(np.float32)}, "floats from 0 to 255; they must be in 0..1"),
        ({"x": np.full((4, 32, 32), np.nan)}, "floats from nan to nan"),
        ({"x": GREY[:0]}, "x holds no image"),
        ({"x": [[[0]], [[0, 1]]]}, "x holds rows of different lengths"),
        ({"y": [[0], [0, 1]]}, "y holds rows of different lengths"),
        ({"y": [True, False, True, False]}, "y is bool; labels are whole numbers"),
        ({"y": ["0", "1", "0", "1"]}, "labels are whole numbers"),
        ({"x": np.float32(0.5)}, "x has the shape of a single number"),
        ({"x": np.full((4, 32, 32), -0.01)}, "floats from -0.01"),
        ({"image_size": 2000}, "8 to 1024 pixels a side, not 2000"),
        ({"classes": ()}, "a label 1, but 0 classes"),
        ({"groups": list("abcde")}, "4 images but 5 groups"),
        ({"test": (GREY, [0, 1, 2, 0])}, "a label 2, but 2 classes"),
        ({"test": (GREY[:0], [])}, "test images holds no image"),
        ({"x": GREY[:, :4, :4]}, "8 to 1024 pixels a side, not 4"),
        ({"y": [0, 1, 0]}, "4 images but 3 labels"),
        ({"y": [[0, 1, 0, 1]]}, "y has the shape 1 x 4; it must hold one label for each image"),
        ({"y": [0.0, 1.0, 0.0, 1.0]}, "y is float64; labels are whole numbers"),
        ({"y": [0, -1, 0, 1]}, "holds the label -1"),
        ({"y": [0, 2, 0, 1]}, "a label 2, but 2 classes \\(normal, ill\\): labels go from 0 to 1"),
        ({"classes": "ab"}, "not the text 'ab'"),
        ({"classes": ("a", "a")}, "hold a name twice"),
        ({"groups": ["a"]}, "4 images but 1 groups"),
        ({"columns": {"site": ["a"]}}, "4 images but 1 values of 'site'"),
        ({"test": (GREY, [0])}, "4 images but 1 labels"),
        ({"test": (GREY,)}, "test must be a pair"),
    ],
)
def test_what_is_refused(changed, words):
    with pytest.raises(DataError, match=words):
        arrays(**{"x": GREY, "y": LABELS, "classes": NAMES, **changed})
