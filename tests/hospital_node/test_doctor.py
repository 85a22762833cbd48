"""`flop doctor`: every hop is told, and the first one that fails ends it."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from hospital_node import doctor
from hospital_node.storage import Storage
from simulation.run.options import Options
from simulation.run.prepare import Prepared, prepare
from simulation.run.processes import write_files


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    folder = tmp_path_factory.mktemp("federation")
    prepared = prepare(Options.of(data="phantom-cxr:60", image_size=28, hospitals=3, out=folder))
    write_files(prepared)
    return prepared


def test_a_missing_file_fails_the_first_hop_and_nothing_more_is_tried(tmp_path: Path) -> None:
    said: list[str] = []
    assert doctor.examine(tmp_path / "hospital.toml", said.append) is False
    assert len(said) == 1 and said[0].startswith("FAILS files and keys: ")
    assert "hospital.toml" in said[0]


def test_a_coordinator_that_does_not_answer_fails_the_last_hop(
    made: Prepared, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doctor, "PATIENCE_S", 0.3)
    said: list[str] = []
    assert doctor.examine(made.folder / f"{made.ids[0]}.toml", said.append) is False
    assert [line.split(":")[0] for line in said] == [
        "ok    files and keys", "ok    start of the model", "ok    images", "ok    device",
        "FAILS coordinator",
    ]  # fmt: skip


def test_a_node_that_is_running_keeps_its_connection(made: Prepared) -> None:
    said: list[str] = []
    with Storage(made.options.out / "hospitals" / made.ids[0]).locked():
        assert doctor.examine(made.folder / f"{made.ids[0]}.toml", said.append) is True
    assert said[-1].startswith("ok    coordinator: not tried: this hospital's node is running")


def test_another_start_of_the_model_is_found(made: Prepared, tmp_path: Path) -> None:
    for file in made.folder.iterdir():
        shutil.copy(file, tmp_path)
    with (tmp_path / "start.safetensors").open("ab") as start:
        start.write(b" ")
    said: list[str] = []
    assert doctor.examine(tmp_path / f"{made.ids[0]}.toml", said.append) is False
    assert said[-1].startswith("FAILS start of the model: ")
