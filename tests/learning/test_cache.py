"""The cache of decoded images: used for exactly its own images, and otherwise as if absent."""

from __future__ import annotations

import json
import os

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import save_file

from learning.data import cache

PIXELS = np.arange(2 * 1 * 4 * 4, dtype=np.uint8).reshape(2, 1, 4, 4)
SHAPE = (1, 4, 4)


def test_what_was_written_is_read(tmp_path):
    path = tmp_path / "new" / "folder" / "images"
    cache.write(path, "key", PIXELS, {1: "torn", 12: "grün"})
    pixels, reasons = cache.read(path, "key", SHAPE)
    assert np.array_equal(pixels, PIXELS) and reasons == {1: "torn", 12: "grün"}
    assert os.listdir(path.parent) == ["images"]


def test_pixels_that_are_not_contiguous_are_written_as_they_look(tmp_path):
    turned = PIXELS.transpose(0, 1, 3, 2)
    cache.write(tmp_path / "images", "key", turned, {})
    assert np.array_equal(cache.read(tmp_path / "images", "key", SHAPE)[0], turned)


def test_another_key_or_shape_is_as_good_as_absent(tmp_path):
    path = tmp_path / "images"
    assert cache.read(path, "key", SHAPE) is None
    cache.write(path, "key", PIXELS, {})
    assert cache.read(path, "kez", SHAPE) is None
    assert cache.read(path, "key", (3, 4, 4)) is None
    assert cache.read(path, "key", (1, 4, 5)) is None
    assert cache.read(path, "key", SHAPE) is not None


@pytest.mark.parametrize(
    ("pixels", "header"),
    [
        (PIXELS.astype(np.int16), {"key": "key", "skipped": "{}"}),
        (PIXELS, {"skipped": "{}"}),
        (PIXELS, {"key": "key"}),
        (PIXELS, {"key": "key", "skipped": "{"}),
        (PIXELS, {"key": "key", "skipped": "[1]"}),
        (PIXELS, {"key": "key", "skipped": json.dumps({"first": "torn"})}),
    ],
)
def test_a_file_that_is_no_cache_is_as_good_as_absent(tmp_path, pixels, header):
    save_file({"images": pixels}, tmp_path / "images", metadata=header)
    assert cache.read(tmp_path / "images", "key", SHAPE) is None


@settings(deadline=None, max_examples=30)
@given(st.binary(max_size=200))
def test_any_other_bytes_are_as_good_as_absent(tmp_path_factory, junk):
    path = tmp_path_factory.mktemp("junk") / "images"
    path.write_bytes(junk)
    assert cache.read(path, "key", SHAPE) is None


def test_a_cut_cache_is_as_good_as_absent(tmp_path):
    path = tmp_path / "images"
    cache.write(path, "key", PIXELS, {})
    path.write_bytes(path.read_bytes()[:-1])
    assert cache.read(path, "key", SHAPE) is None


def test_a_write_that_fails_leaves_the_old_cache(tmp_path, monkeypatch):
    path = tmp_path / "images"
    cache.write(path, "key", PIXELS, {})

    def no_room(*_: object, **__: object) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr(cache.os, "replace", no_room)
    with pytest.raises(OSError, match="no space"):
        cache.write(path, "other", PIXELS, {})
    monkeypatch.undo()
    assert cache.read(path, "key", SHAPE) is not None
    assert os.listdir(tmp_path) == ["images"], "the half-made file is gone"


stamps = st.lists(st.text("ab:", max_size=3), max_size=3)


@settings(deadline=None, max_examples=50)
@given(stamps, stamps, st.sampled_from([28, 32]), st.sampled_from([1, 3]))
def test_keys_are_equal_for_equal_sources_only(one, other, size, channels):
    """Also if the same letters are divided among the stamps in another way."""
    key = cache.key(one, size, channels)
    assert (cache.key(other, size, channels) == key) == (one == other)
    assert cache.key(one, size + 1, channels) != key != cache.key(one, size, 4 - channels)
    assert len(key) == 64 and set(key) <= set("0123456789abcdef")


def test_keys_follow_the_order_and_not_only_the_letters():
    assert cache.key(["ab", "c"], 28, 1) != cache.key(["a", "bc"], 28, 1)
    assert cache.key(["a", "b"], 28, 1) != cache.key(["b", "a"], 28, 1)


def test_a_path_that_is_no_unicode_has_a_key():
    assert cache.key([os.fsdecode(b"/data/\xff.png")], 28, 1) != cache.key(["/data/.png"], 28, 1)
