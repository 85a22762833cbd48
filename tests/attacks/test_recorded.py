"""What is read of a recorded round, and what of a damaged one."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from attacks import recorded as reader
from federation import config as federation_config
from federation.errors import ConfigError
from federation.framefile import read_frames

ROUND = "observations/round-1"
HEAD = {"head.weight", "head.bias"}


@pytest.fixture
def copied(recorded: Path, tmp_path: Path) -> Path:
    """A recorded run that may be damaged."""
    shutil.copytree(recorded, tmp_path / "run")
    return tmp_path / "run"


def test_without_a_protection_every_hospital_is_an_observation(recorded: Path) -> None:
    seen = reader.load(recorded)
    assert [one.hospitals for one in seen] == [("hospital-1",), ("hospital-2",), ("hospital-3",)]
    updates = [one.observation.readable for one in seen]
    name = "body.0.weight"
    assert all(name in update for update in updates)
    assert not np.array_equal(updates[0][name], updates[1][name])


def test_an_observation_names_what_stays_private_and_holds_none_of_it(recorded: Path) -> None:
    seen = reader.load(recorded)[0].observation
    assert seen.private == HEAD
    assert not HEAD & (set(seen.shared_before) | set(seen.readable))
    assert (seen.algorithm, seen.protection, seen.cohort, seen.summed) == ("flop", "plain", 3, 1)


def test_a_case_knows_what_the_agreed_config_tells_everybody(recorded: Path) -> None:
    seen = reader.load(recorded)[0]
    known = seen.case(images=2).knowledge
    assert (known.learning_rate, known.optimizer, known.images) == (0.1, "sgd", 2)
    assert known.classes == len(seen.config.model.classes)
    assert known.head is None and known.labels is None and known.shadow is None


def test_how_many_steps_were_made_follows_from_the_guess_of_the_images(recorded: Path) -> None:
    config = federation_config.read(recorded / "config.toml")
    assert reader.knowledge(config).local_steps is None
    assert reader.knowledge(config, images=3).local_steps == 3
    assert reader.knowledge(config, images=3).mode == "eval"  # a batch of one


def test_the_frames_of_an_update_are_a_file_that_can_be_cut(copied: Path) -> None:
    path = next((copied / ROUND).glob("update-*.bin"))
    whole = read_frames(path)
    path.write_bytes(path.read_bytes()[:-1])
    assert len(whole) > 1
    with pytest.raises(ConfigError, match=r"round-1: the recording is damaged \(.* is truncated"):
        reader.load(copied)


def test_another_message_in_the_place_of_an_update_is_named(copied: Path) -> None:
    update = next((copied / ROUND).glob("update-*.bin"))
    shutil.copy(copied / ROUND / "aggregate.bin", update)
    with pytest.raises(ConfigError, match=f"{update.name} holds another message than Update"):
        reader.load(copied)


def test_a_round_that_was_not_recorded_is_answered_with_those_that_were(recorded: Path) -> None:
    with pytest.raises(ConfigError, match="no recording of round 9; recorded are 1"):
        reader.load(recorded, 9)


def test_a_run_without_a_recording_is_answered_with_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="run flop sim again with --record"):
        reader.load(tmp_path)


def test_an_observations_update_moves_the_model_it_was_sent(recorded: Path) -> None:
    """The mean of the updates, added to the model before, is not the model before."""
    seen = reader.load(recorded)
    name = "body.0.weight"
    before = seen[0].observation.shared_before[name]
    assert all(np.array_equal(one.observation.shared_before[name], before) for one in seen)
    assert np.abs(np.mean([one.observation.readable[name] for one in seen], axis=0)).max() > 0
