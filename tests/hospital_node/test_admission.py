"""`flop keygen` and `flop roster`, without a network."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from federation import keys, roster
from federation.errors import ConfigError
from federation.transport.link import AddressError
from hospital_node.admission import keygen_app, roster_app
from hospital_node.policy import Policy

ADDRESS = "192.0.2.10:5555"


def output(app: typer.Typer, *words: str | Path) -> str:
    """What a command prints; its error is raised."""
    result = CliRunner().invoke(app, [str(word) for word in words])
    if result.exception is not None:
        raise result.exception
    return result.output


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The keys of a coordinator and two hospitals."""
    folder = tmp_path_factory.mktemp("keys")
    output(keygen_app, "--id", "hub", "--coordinator", "--address", ADDRESS, "--folder", folder)
    for name in ("north", "south"):
        output(keygen_app, "--id", name, "--folder", folder)
    return folder


def test_keygen_writes_a_secret_that_only_its_owner_reads_and_the_public_half(
    tmp_path: Path,
) -> None:
    printed = output(keygen_app, "--id", "north", "--folder", tmp_path)
    assert (tmp_path / "north.secret").stat().st_mode & 0o777 == 0o600
    public = keys.read_public(tmp_path / "north.pub")
    assert public == keys.read_secret(tmp_path / "north.secret").public()
    assert f"fingerprint of north: {public.fingerprint}" in printed


def test_a_hospitals_toml_names_its_secret_its_data_and_the_default_policy(
    tmp_path: Path,
) -> None:
    output(keygen_app, "--id", "north", "--data", "/data/chest", "--folder", tmp_path)
    written = tomllib.loads((tmp_path / "hospital.toml").read_text())
    assert written["hospital"]["secret"] == "north.secret"
    assert written["data"] == {"source": "/data/chest"}
    assert Policy(**written["policy"] | {"protections": Policy().protections}) == Policy()
    assert tuple(written["policy"]["protections"]) == Policy().protections


def test_keygen_keeps_a_hospital_toml_that_is_there(tmp_path: Path) -> None:
    (tmp_path / "hospital.toml").write_text("# edited\n")
    assert "hospital.toml" not in output(keygen_app, "--id", "north", "--folder", tmp_path)
    assert (tmp_path / "hospital.toml").read_text() == "# edited\n"


def test_a_coordinator_gets_its_address_and_no_hospital_toml(tmp_path: Path) -> None:
    output(keygen_app, "--id", "hub", "--coordinator", "--address", ADDRESS, "--folder", tmp_path)
    public = keys.read_public(tmp_path / "hub.pub")
    assert (public.role, public.address) == ("coordinator", ADDRESS)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["hub.pub", "hub.secret"]


@pytest.mark.parametrize(
    ("words", "error", "sentence"),
    [
        (["--id", "hub", "--coordinator"], ConfigError, "--address is missing"),
        (
            ["--id", "hub", "--coordinator", "--address", "no port"],
            AddressError,
            "the address 'no port' is not of the form host:port",
        ),
        (["--id", "No Spaces"], ConfigError, "--id 'No Spaces'"),
    ],
)
def test_keygen_names_the_option_that_is_wrong_and_writes_nothing(
    tmp_path: Path, words: list[str], error: type[Exception], sentence: str
) -> None:
    with pytest.raises(error, match=sentence):
        output(keygen_app, *words, "--folder", tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_keygen_never_overwrites_keys(made: Path) -> None:
    before = (made / "north.secret").read_bytes()
    with pytest.raises(ConfigError, match="keys are never overwritten"):
        output(keygen_app, "--id", "north", "--folder", made)
    assert (made / "north.secret").read_bytes() == before


def test_roster_add_shows_every_partys_fingerprint_and_the_rosters(
    made: Path, tmp_path: Path
) -> None:
    file, parties = tmp_path / "roster.toml", [made / f"{name}.pub" for name in ("hub", "north")]
    printed = output(roster_app, "add", *parties, "--file", file)
    for party in parties:
        assert keys.read_public(party).fingerprint in printed
    assert f"fingerprint of the whole roster: {roster.read(file).fingerprint}" in printed
    assert output(roster_app, "show", file) == printed


def test_a_hospital_added_later_changes_the_rosters_fingerprint(made: Path, tmp_path: Path) -> None:
    file = tmp_path / "roster.toml"
    output(roster_app, "add", made / "hub.pub", made / "north.pub", "--file", file)
    before = roster.read(file).fingerprint
    output(roster_app, "add", made / "south.pub", "--file", file)
    assert [party.id for party in roster.read(file).hospitals] == ["north", "south"]
    assert roster.read(file).fingerprint != before


def test_a_roster_cannot_begin_without_its_coordinator(made: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"has no coordinator yet; add the coordinator's \.pub"):
        output(roster_app, "add", made / "north.pub", "--file", tmp_path / "roster.toml")
    assert not (tmp_path / "roster.toml").exists()


def test_a_roster_is_accepted_only_with_the_fingerprint_that_was_compared(
    made: Path, tmp_path: Path
) -> None:
    file, accepted = tmp_path / "roster.toml", tmp_path / "accepted-roster"
    output(roster_app, "add", made / "hub.pub", made / "north.pub", "--file", file)
    with pytest.raises(ConfigError, match="compare it, and give it with --fingerprint"):
        output(roster_app, "accept", file)
    with pytest.raises(ConfigError, match="do not use this file"):
        output(roster_app, "accept", file, "--fingerprint", "0000 0000")
    assert not accepted.exists()
    admitted = roster.read(file)
    printed = output(roster_app, "accept", file, "--fingerprint", admitted.fingerprint)
    assert accepted.read_text().strip() == admitted.digest.hex()
    assert f"1 hospitals and the coordinator 'hub' at {ADDRESS}" in printed
