"""The shared model: FLOP's step, clips from public knowledge, a digest of all of it, and files that
are ours or refused.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import save

from federation import model
from federation.coding import Coding, Sum
from federation.errors import ConfigError, OutOfRange
from federation.layout import Layout
from federation.model import SharedModel, from_bytes, to_bytes
from tests.rig import config, start_model

CONFIG = config("plain", 3, bits=0, beta=0.5, clip_floor=0.01, clip_factor=3.0)


def total(values: list[float], survivors: int = 2, examples: int = 5) -> Sum:
    return Sum(np.array(values, np.float32), survivors, examples, 0, (), 0)


def test_a_step_is_shared_plus_beta_times_the_mean() -> None:
    tensors = {"a": np.array([1, 2], np.float32), "b": np.array([[-1]], np.float32)}
    shared = model.start(tensors, ("a", "b"), 0.25)
    shared.apply(total([0.4, -0.8, 0.002]), Coding.of(CONFIG, shared.layout), CONFIG, 7)
    step = np.float32(0.5) * np.array([0.2, -0.4, 0.001], np.float32)
    np.testing.assert_array_equal(shared.vector, np.array([1, 2, -1], np.float32) + step)
    assert shared.round == 7


def test_clips_follow_the_last_mean_tensor_by_tensor_with_a_floor() -> None:
    zeros = {
        "a": np.zeros(2, np.float32),
        "b": np.zeros((1, 1), np.float32),
        "c": np.zeros(0, np.float32),
    }
    shared = model.start(zeros, ("a", "b", "c"), 0.25)
    shared.apply(total([0.4, -0.8, 0.002]), Coding.of(CONFIG, shared.layout), CONFIG, 1)
    np.testing.assert_allclose(shared.clips, [3 * 0.4, 0.01, 0.01], rtol=1e-6)


def test_the_first_clip_of_running_statistics_is_another() -> None:
    layout = Layout(("bn.weight", "bn.running_mean", "bn.running_var"), ((1,), (1,), (1,)))
    assert model.first_clips(layout, config("masked", 3, clip=0.5, buffer_clip=9.0)).tolist() == [
        0.5,
        9.0,
        9.0,
    ]


def test_a_sum_that_cannot_be_applied_changes_nothing() -> None:
    weighted = config("plain", 3, bits=0, weighting="examples")
    shared = start_model()
    before = shared.digest
    with pytest.raises(OutOfRange):
        shared.apply(
            total([0.0] * shared.layout.size, examples=0),
            Coding.of(weighted, shared.layout),
            weighted,
            1,
        )
    assert shared.digest == before


@pytest.mark.parametrize("change", ["value", "clip", "round", "name", "shape", "order"])
def test_the_digest_covers_everything_that_training_and_coding_depend_on(change: str) -> None:
    one, other = start_model(), start_model()
    assert one.digest == other.digest
    names, shapes = one.layout.names, one.layout.shapes
    match change:
        case "value":
            other.vector[3] = np.nextafter(other.vector[3], np.float32(9))
        case "clip":
            other.clips[1] *= 2
        case "round":
            other.round = 1
        case "name":
            other.layout = Layout(("x", *names[1:]), shapes)
        case "shape":
            other.layout = Layout(names, ((4, 3), shapes[1]))
        case "order":
            other.layout = Layout(names[::-1], shapes[::-1])
    assert one.digest != other.digest


def test_a_file_goes_round_to_the_same_bytes() -> None:
    shared = start_model()
    shared.round, shared.clips = 9, np.array([0.1, 1 / 3], np.float32)
    again = from_bytes(to_bytes(shared), shared.layout)
    assert (
        again is not None and again.digest == shared.digest and to_bytes(again) == to_bytes(shared)
    )


def spoilt(**changes: Any) -> bytes:
    """A model file with other metadata."""
    shared = start_model()
    about = {"order": list(shared.layout.names), "clips": [0.25, 0.25], "round": 0} | changes
    return save(
        {name: np.ascontiguousarray(value) for name, value in shared.tensors().items()},
        metadata={"flop": json.dumps(about)},
    )


@pytest.mark.parametrize(
    "changes",
    [
        {"order": ["features.weight"]},
        {"order": ["features.weight", "features.weight"]},
        {"order": ["features.weight", "features.bias", "more"]},
        {"order": None},
        {"order": [["features.weight"]]},
        {"order": [1, 2]},
        {"clips": [0.25]},
        {"clips": [0.25, 0.0]},
        {"clips": [0.25, -1.0]},
        {"clips": [0.25, float("nan")]},
        {"clips": [0.25, float("inf")]},
        {"clips": [0.25, 10**400]},
        {"clips": [[0.25], 0.25]},
        {"clips": "ab"},
        {"round": -1},
        {"round": float("inf")},
        {"round": float("nan")},
        {"round": 2**31},
        {"round": None},
        {"round": [0]},
    ],
    ids=str,
)
def test_wrong_metadata_is_not_a_model(changes: dict[str, Any]) -> None:
    assert from_bytes(spoilt()) is not None
    assert from_bytes(spoilt(**changes)) is None


def test_wrong_tensors_are_not_a_model() -> None:
    shared = start_model()
    about = {
        "flop": json.dumps({"order": list(shared.layout.names), "clips": [0.25, 0.25], "round": 0})
    }
    good = {name: np.ascontiguousarray(value) for name, value in shared.tensors().items()}
    for changed in (
        good | {"features.bias": np.full(5, np.nan, np.float32)},
        good | {"features.bias": np.full(5, np.inf, np.float32)},
        good | {"features.bias": np.zeros(5, np.float64)},
        good | {"features.bias": np.zeros(5, np.int32)},
        good | {"stowaway": np.zeros(1, np.float32)},
        {"features.weight": good["features.weight"]},
    ):
        assert from_bytes(save(changed, metadata=about), None) is None
    assert from_bytes(save(good), None) is None  # no metadata
    other = good | {"features.bias": np.zeros((5, 1), np.float32)}
    assert from_bytes(save(other, metadata=about)) is not None  # a model, but
    assert from_bytes(save(other, metadata=about), shared.layout) is None  # not this federation's


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_no_bytes_do_anything_but_be_a_model_or_not(data: st.DataObject) -> None:
    content = bytearray(to_bytes(start_model()))
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(content) - 1))
        match data.draw(st.sampled_from(["flip", "cut", "insert"])):
            case "flip":
                content[at] ^= data.draw(st.integers(1, 255))
            case "cut":
                del content[at : at + data.draw(st.integers(1, 40))]
            case "insert":
                content[at:at] = data.draw(st.binary(min_size=1, max_size=20))
        if not content:
            break
    found = from_bytes(bytes(content))
    assert found is None or np.isfinite(found.vector).all()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\0" * 7,
        b"\xff" * 8,
        b"\xff" * 200,
        b"\x02" + bytes(7) + b"{}",
        b"\x02" + bytes(7) + b"[]",
    ],
)
def test_short_and_strange_files_are_not_models(content: bytes) -> None:
    assert from_bytes(content) is None


def test_reading_names_the_file_and_the_fix(tmp_path: Path) -> None:
    path = tmp_path / "start.safetensors"
    with pytest.raises(ConfigError, match=r"start\.safetensors: cannot be read: No such file"):
        model.read(path)
    path.write_bytes(b"rubbish")
    with pytest.raises(
        ConfigError,
        match=(
            r"start\.safetensors: is not a model file of this project; copy it from the coordinator"
            r" again"
        ),
    ):
        model.read(path)


def test_the_start_must_have_the_agreed_digest_and_is_round_0(tmp_path: Path) -> None:
    path, shared = tmp_path / "start.safetensors", start_model()
    shared.round, shared.clips = 40, np.array([3.0, 3.0], np.float32)
    shared.save(path)
    assert [item.name for item in tmp_path.iterdir()] == ["start.safetensors"]
    agreed = config("masked", 3, clip=0.125)
    digest = model.file_digest(path)
    fits = type(agreed.model)(classes=("a", "b"), start_digest=digest)
    agreed = type(agreed)(federation=agreed.federation, model=fits, protection=agreed.protection)
    start = model.read_start(path, agreed)
    assert (start.round, start.clips.tolist()) == (0, [0.125, 0.125])
    shared.vector[0] += 1
    shared.save(path)
    with pytest.raises(
        ConfigError,
        match=(
            rf"its SHA-256 is [0-9a-f]{{16}}…, federation\.toml says {digest[:16]}…; copy both"
            r" files"
        ),
    ):
        model.read_start(path, agreed)


def test_saving_is_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, shared = tmp_path / "shared.safetensors", start_model()
    shared.save(path)
    before = path.read_bytes()
    monkeypatch.setattr(
        Path, "replace", lambda self, target: (_ for _ in ()).throw(OSError("the power is gone"))
    )
    shared.vector[0] = 5
    with pytest.raises(OSError, match="power"):
        shared.save(path)
    assert path.read_bytes() == before


def test_a_copy_of_the_model_shares_nothing_that_a_round_changes() -> None:
    """`apply` replaces the vector and the clips; whoever kept the old ones keeps them."""
    shared = start_model()
    kept = SharedModel(shared.layout, shared.vector, shared.clips, shared.round)
    digest = kept.digest
    shared.apply(total([1.0] * shared.layout.size), Coding.of(CONFIG, shared.layout), CONFIG, 1)
    assert kept.digest == digest != shared.digest
