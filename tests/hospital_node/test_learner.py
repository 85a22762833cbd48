"""A hospital's model: what is trained, kept, thrown away and given out."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import torch

from federation.errors import ConfigError
from federation.layout import Layout
from hospital_node.learner import Learner
from learning import parameters
from learning.training import TrainStats
from simulation.run.federate import Federation
from simulation.run.options import Options
from simulation.run.prepare import prepare

RUN = bytes(16)


def federation(folder: Path, model: str = "cnn3") -> Federation:
    options = Options.of(
        data="phantom-cxr:60", image_size=28, hospitals=3, model=model, transport="memory",
        protection="plain", min_cohort=3, baselines=False, out=folder,
    )  # fmt: skip
    return Federation(prepare(options))


@pytest.fixture
def made(tmp_path: Path) -> Federation:
    return federation(tmp_path)


@pytest.fixture
def learner(made: Federation) -> Learner:
    made.learners[0].reset(RUN)
    return made.learners[0]


def test_an_update_is_local_minus_global_with_room_behind_it(
    made: Federation, learner: Learner
) -> None:
    shared = made.start.vector
    done = learner.train(shared, RUN, 1)
    assert done is not None and done.memory is not None
    local = learner.layout.flatten(parameters.to_numpy(learner.model, learner.split.shared))
    assert np.array_equal(done.update, local - shared) and done.update.any()
    assert np.shares_memory(done.update, done.memory) and len(done.memory) > len(done.update)
    assert done.examples == len(learner.data.train) and done.steps > 0


def test_an_update_is_made_without_a_second_vector(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = federation(tmp_path, "resnet18")
    learner, shared = made.learners[0], made.start.vector
    learner.reset(RUN)
    done = TrainStats(examples=1, steps=1, loss=0.0, seconds=0.0, stopped=False)
    monkeypatch.setattr(learner.trainer, "train", lambda *given, **named: done)
    tracemalloc.start()
    try:
        learner.train(shared, RUN, 1)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 1.4 * shared.nbytes


def test_private_changes_are_kept_only_if_the_update_was_counted(
    made: Federation, learner: Learner
) -> None:
    before = {name: value.copy() for name, value in learner.private.items()}
    learner.train(made.start.vector, RUN, 1)
    learner.adopt(made.start.vector, counted=False)
    assert all(np.array_equal(learner.private[name], before[name]) for name in before)
    learner.train(made.start.vector, RUN, 1)
    learner.adopt(made.start.vector, counted=True)
    assert any(not np.array_equal(learner.private[name], before[name]) for name in before)


def test_a_discarded_round_changes_no_private_layer(made: Federation, learner: Learner) -> None:
    before = {name: value.copy() for name, value in learner.private.items()}
    learner.train(made.start.vector, RUN, 1)
    learner.discard()
    learner.adopt(made.start.vector, counted=True)
    assert all(np.array_equal(learner.private[name], before[name]) for name in before)


def test_a_training_that_is_stopped_gives_nothing(made: Federation, learner: Learner) -> None:
    before = {name: value.copy() for name, value in learner.private.items()}
    assert learner.train(made.start.vector, RUN, 1, stop=lambda: True) is None
    learner.adopt(made.start.vector, counted=True)
    assert all(np.array_equal(learner.private[name], before[name]) for name in before)


def test_the_same_round_of_the_same_run_gives_the_same_bytes(
    made: Federation, learner: Learner
) -> None:
    first, again = (learner.train(made.start.vector, RUN, 1) for _ in range(2))
    other = learner.train(made.start.vector, RUN, 2)
    assert first is not None and again is not None and other is not None
    assert first.update.tobytes() == again.update.tobytes() != other.update.tobytes()


def test_private_layers_of_another_model_are_refused_by_the_files_name(learner: Learner) -> None:
    wrong = {name: np.zeros(1, np.float32) for name in learner.private}
    with pytest.raises(ConfigError, match=r"private\.safetensors: does not fit this model"):
        learner.load_private(wrong, "private.safetensors")


def test_a_start_of_other_layers_is_refused(made: Federation) -> None:
    other = Layout(("strange.weight",), ((2,),))
    with pytest.raises(ConfigError, match="the start file holds other layers"):
        Learner(
            made.prepared.config, other, bytes(32), made.divided.locals[0], made.learners[0].devices
        )


def test_the_facts_count_images_by_class_and_private_parameters(learner: Learner) -> None:
    facts = learner.facts()
    assert sum(facts.train_examples) == len(learner.data.train)
    assert sum(facts.test_examples) == len(learner.data.test)
    assert facts.private_parameters == sum(value.size for value in learner.private.values())
    assert facts.device == str(torch.device("cpu"))
