"""hospital.toml and the files that it names: what is wrong is said with file, key and remedy."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from federation.errors import ConfigError
from hospital_node.settings import Hospital, accept_roster, check_roster
from simulation.run.options import Options
from simulation.run.prepare import Prepared, prepare
from simulation.run.processes import write_files
from tests.rig import Rig, config


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    folder = tmp_path_factory.mktemp("federation")
    prepared = prepare(Options.of(data="phantom-cxr:60", image_size=28, hospitals=3, out=folder))
    write_files(prepared)
    return prepared


def changed(made: Prepared, to: Path, old: str, new: str) -> Path:
    """A copy of the first hospital's files, with another line in its hospital.toml."""
    for file in made.folder.iterdir():
        shutil.copy(file, to)
    path = to / f"{made.ids[0]}.toml"
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new))
    return path


def test_a_hospitals_files_are_read_relative_to_its_hospital_toml(made: Prepared) -> None:
    hospital = Hospital(made.folder / f"{made.ids[0]}.toml")
    assert hospital.secrets.id == made.ids[0] and hospital.config.digest == made.config.digest
    assert hospital.start_path == made.folder / "start.safetensors"
    assert hospital.address == hospital.roster.coordinator.address


def test_the_coordinators_address_can_be_another_one_than_the_rosters(
    made: Prepared, tmp_path: Path
) -> None:
    path = changed(made, tmp_path, "[hospital]", '[hospital]\ncoordinator = "hub.example:5555"')
    assert Hospital(path).address == "hub.example:5555"


def test_an_unknown_key_is_named(made: Prepared, tmp_path: Path) -> None:
    path = changed(made, tmp_path, "[hospital]", "[hospital]\ncolour = 1")
    with pytest.raises(ConfigError, match="colour") as refused:
        Hospital(path)
    assert str(path) in str(refused.value)


def test_a_roster_that_was_not_accepted_here_is_not_used(made: Prepared, tmp_path: Path) -> None:
    path = changed(made, tmp_path, "[hospital]", "[hospital]")
    (tmp_path / "accepted-roster").unlink()
    with pytest.raises(ConfigError, match="has not been accepted here; compare it"):
        Hospital(path)


def test_accepting_a_roster_needs_its_fingerprint(made: Prepared, tmp_path: Path) -> None:
    path = changed(made, tmp_path, "[hospital]", "[hospital]")
    (tmp_path / "accepted-roster").unlink()
    with pytest.raises(ConfigError, match="do not use this file, ask the coordinator"):
        accept_roster(tmp_path / "roster.toml", "0000 0000")
    fingerprint = Rig(config("masked", 3)).roster.fingerprint
    with pytest.raises(ConfigError, match="its fingerprint is"):
        accept_roster(tmp_path / "roster.toml", fingerprint)
    admitted = accept_roster(
        tmp_path / "roster.toml", _fingerprint(tmp_path / "roster.toml").upper()
    )
    assert Hospital(path).roster.digest == admitted.digest


def _fingerprint(path: Path) -> str:
    from federation import roster

    return roster.read(path).fingerprint


def test_another_hospitals_secret_is_refused(made: Prepared, tmp_path: Path) -> None:
    path = changed(made, tmp_path, f"{made.ids[0]}.secret", "stranger.secret")
    secret = (tmp_path / f"{made.ids[1]}.secret").read_text()
    stranger = tmp_path / "stranger.secret"
    stranger.write_text(secret.replace(made.ids[1], made.ids[0]))
    stranger.chmod(0o600)
    with pytest.raises(ConfigError, match="holds other keys for 'hospital-1'"):
        Hospital(path)


def test_a_roster_smaller_than_the_cohort_is_refused() -> None:
    admitted = Rig(config("masked", 3)).roster
    check_roster(config("masked", 3), admitted, "roster.toml")
    with pytest.raises(ConfigError, match=r"roster\.toml: has 3 hospitals, but federation\.cohort"):
        check_roster(config("masked", 5), admitted, "roster.toml")
