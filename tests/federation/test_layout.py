"""One vector and its tensors: nothing lost, nothing moved, and no shape but the agreed one."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from federation.layout import Layout

shapes = st.lists(st.lists(st.integers(0, 4), max_size=3).map(tuple), max_size=5)


@settings(max_examples=60, deadline=None)
@given(shapes, st.integers(0, 2**32 - 1))
def test_flatten_and_unflatten_undo_each_other(shapes: list[tuple[int, ...]], seed: int) -> None:
    draw = np.random.default_rng(seed)
    tensors = {
        f"t{at}": draw.normal(size=shape).astype(np.float32) for at, shape in enumerate(shapes)
    }
    layout = Layout.of(tensors, list(tensors))
    vector = layout.flatten(tensors)
    assert vector.dtype == np.float32 and vector.shape == (layout.size,) == (sum(layout.lengths),)
    again = layout.unflatten(vector)
    assert all(
        np.array_equal(again[name], tensors[name]) and again[name].shape == tensors[name].shape
        for name in tensors
    )
    assert all(np.shares_memory(again[name], vector) for name in again if again[name].size)


def test_the_order_is_that_of_the_names_and_rows() -> None:
    tensors = {"b": np.array([[1, 2], [3, 4]], np.float32), "a": np.array([9], np.float32)}
    assert Layout.of(tensors, ("a", "b")).flatten(tensors).tolist() == [9, 1, 2, 3, 4]
    assert Layout.of(tensors, ("b", "a")).flatten(
        {"a": tensors["a"], "b": tensors["b"].T.copy().T}
    ).tolist() == [1, 2, 3, 4, 9]


def test_another_shape_or_a_missing_name_is_refused_by_its_name() -> None:
    layout = Layout(("a", "b"), ((2,), (3, 1)))
    good = {"a": np.zeros(2, np.float32), "b": np.zeros((3, 1), np.float32)}
    for changed, words in (
        ({"b": np.zeros((1, 3), np.float32)}, r"b should be \(3, 1\), is \(1, 3\)"),
        ({"a": None}, r"a should be \(2,\), is None"),
    ):
        with pytest.raises(ValueError, match=words):
            layout.flatten({**good, **changed})  # type: ignore[dict-item]
    for wrong in (4, 6, 0):
        with pytest.raises(ValueError, match="a vector of 5 elements is needed"):
            layout.unflatten(np.zeros(wrong, np.float32))


def test_the_digest_knows_names_shapes_and_order() -> None:
    layouts = [
        Layout(("a", "b"), ((2,), (3,))),
        Layout(("b", "a"), ((2,), (3,))),
        Layout(("a", "b"), ((3,), (2,))),
        Layout(("a", "b"), ((2, 1), (3,))),
        Layout(("a",), ((2,),)),
        Layout(("ab",), ((2,),)),
        Layout((), ()),
    ]
    assert len({layout.digest for layout in layouts}) == len(layouts)
    assert layouts[0].digest == Layout(("a", "b"), ((2,), (3,))).digest
