"""The private layers never cross the wire: the decrypted frames of a whole run are searched for
them, as float32 and quantised.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from learning import models, parameters
from tests.end_to_end.zmq_federation import ZmqFederation

WINDOW = 48
"""Elements that must match in a row: chance alone does not do that."""

CLASSIFIER = models.REGISTRY["cnn3"].private


def classifier_names(federation: ZmqFederation) -> list[str]:
    """The layers that FLOP keeps at home by default, whether this run keeps them or not."""
    from learning.private_layers import choose

    model = next(iter(federation.nodes.values())).keeper.work.learner.model
    return list(choose(model, default=CLASSIFIER).private)


def watch_classifier(federation: ZmqFederation) -> list[np.ndarray]:
    """Everything that the classifier's tensors are, and change by, during the run; filled while it
    plays.
    """
    names, seen = classifier_names(federation), []
    for node in federation.nodes.values():
        learner = node.keeper.work.learner
        train = learner.train

        def watched(*given: Any, learner: Any = learner, train: Any = train, **options: Any) -> Any:
            learner._put(given[0])
            before = parameters.to_numpy(learner.model, names)
            done = train(*given, **options)
            after = parameters.to_numpy(learner.model, names)
            for name in names:
                seen.extend(
                    [
                        before[name].ravel(),
                        after[name].ravel(),
                        (after[name] - before[name]).ravel(),
                    ]
                )
            return done

        learner.train = watched
    return seen


def found_as_float32(frames: list[bytes], tensors: list[np.ndarray]) -> bool:
    everything = b"\0".join(frames)
    return any(
        tensor.astype(kind).tobytes()[: 4 * WINDOW] in everything
        for tensor in tensors
        for kind in ("<f4", ">f4")
        if tensor.any()
    )


def found_quantised(frames: list[bytes], tensors: list[np.ndarray], clip: float, bits: int) -> bool:
    """Whether some frame holds the tensor as 16-bit integers, each within one step of stochastic
    rounding.
    """
    levels = 2 ** (bits - 1) - 1
    for frame in frames:
        stream = np.frombuffer(frame[: len(frame) // 2 * 2], "<i2")
        if len(stream) < WINDOW:
            continue
        windows = np.lib.stride_tricks.sliding_window_view(stream, WINDOW)
        for tensor in tensors:
            wanted = np.clip(tensor / clip, -1, 1) * levels
            start = (
                int(np.argmax(np.convolve(np.abs(wanted) > 3, np.ones(WINDOW), "valid")))
                if len(wanted) >= WINDOW
                else -1
            )
            if start < 0 or (np.abs(wanted[start : start + WINDOW]) > 3).sum() < 8:
                continue  # too small to be told from silence
            if (np.abs(windows - wanted[start : start + WINDOW]) <= 1).all(axis=1).any():
                return True
    return False


def play(tmp_path: Path, **options: Any) -> tuple[list[bytes], list[np.ndarray], ZmqFederation]:
    # SGD: Adam's first steps are all ± lr, and 48 equal signs in a row are no evidence
    federation = ZmqFederation(tmp_path, optimizer="sgd", lr=0.3, **options)
    tensors = watch_classifier(federation)
    federation.play()
    assert tensors and federation.frames
    return [frame for _, frame in federation.frames], tensors, federation


@pytest.mark.parametrize("algorithm", ["flop", "fedavg"])
def test_a_classifier_is_found_in_float32_frames_only_if_it_is_shared(
    tmp_path: Path, algorithm: str
) -> None:
    frames, tensors, _ = play(tmp_path, algorithm=algorithm, protection="plain", bits=0)
    assert found_as_float32(frames, tensors) == (algorithm == "fedavg")


@pytest.mark.parametrize("algorithm", ["flop", "fedavg"])
def test_a_classifier_is_found_in_quantised_frames_only_if_it_is_shared(
    tmp_path: Path, algorithm: str
) -> None:
    frames, tensors, federation = play(tmp_path, algorithm=algorithm, protection="plain", bits=12)
    assert found_quantised(frames, tensors, federation.prepared.config.protection.clip, 12) == (
        algorithm == "fedavg"
    )


@pytest.mark.parametrize("protection", ["masked", "ckks"])
def test_nothing_is_found_under_a_protection_even_if_all_is_shared(
    tmp_path: Path, protection: str
) -> None:
    frames, tensors, federation = play(tmp_path, algorithm="fedavg", protection=protection)
    assert not found_as_float32(frames, tensors)
    assert not found_quantised(frames, tensors, federation.prepared.config.protection.clip, 12)
