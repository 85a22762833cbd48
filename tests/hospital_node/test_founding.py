"""`flop init`: the two files that every party copies."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
from typer.testing import CliRunner

from federation import config as federation_config
from federation import keys, model
from federation.errors import ConfigError
from hospital_node.founding import init_app

SMALL = ("--classes", "ill,well", "--cohort", "4", "--model", "lenet-dlg", "--image-size", "28")


def init(folder: Path, *words: str) -> str:
    """What `flop init` prints; its ConfigError is raised."""
    result = CliRunner().invoke(init_app, [*words, "--folder", str(folder)])
    if result.exception is not None:
        raise result.exception
    return result.output


def test_init_writes_a_config_whose_digest_it_prints_and_the_start_that_it_names(
    tmp_path: Path,
) -> None:
    printed = init(tmp_path, *SMALL, "--seed", "7")
    config = federation_config.read(tmp_path / "federation.toml")
    assert config.model.classes == ("ill", "well") and config.federation.seed == 7
    assert (config.federation.rounds, config.federation.min_cohort) == (20, 3)
    start = tmp_path / config.model.start
    assert config.model.start_digest == hashlib.sha256(start.read_bytes()).hexdigest()
    assert model.read_start(start, config).round == 0
    assert keys.readable(config.digest) in printed and "warning" not in printed


def test_the_same_seed_gives_the_same_files_and_no_seed_another_start(tmp_path: Path) -> None:
    written = []
    for name, words in {"a": ("--seed", "7"), "b": ("--seed", "7"), "c": ()}.items():
        (tmp_path / name).mkdir()
        init(tmp_path / name, *SMALL, *words)
        files = sorted((tmp_path / name).iterdir())
        written.append([path.read_bytes() for path in files])
    assert written[0] == written[1]
    assert all(a != c for a, c in zip(written[0], written[2], strict=True))


def test_private_last_names_the_last_layers_and_leaves_them_out_of_the_start(
    tmp_path: Path,
) -> None:
    for layers in (1, 2):
        folder = tmp_path / str(layers)
        folder.mkdir()
        init(folder, *SMALL, "--private-last", str(layers))
    one, two = (federation_config.read(tmp_path / name / "federation.toml") for name in ("1", "2"))
    assert (len(one.model.private), len(two.model.private)) == (1, 2)
    shared = model.read_start(tmp_path / "2" / two.model.start, two).layout.names
    assert not [name for name in shared if name.startswith(two.model.private)]


def test_any_key_of_the_config_can_be_set_except_those_that_are_computed(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"model\.start_digest"):
        init(tmp_path, *SMALL, "--set", "model.start_digest=00")
    init(tmp_path, *SMALL, "--set", "training.lr=0.0005")
    assert federation_config.read(tmp_path / "federation.toml").training.lr == 0.0005


def test_a_federation_that_exists_is_not_overwritten(tmp_path: Path) -> None:
    (tmp_path / "federation.toml").write_text("# agreed\n")
    with pytest.raises(ConfigError, match=r"federation\.toml: exists already; move it away"):
        init(tmp_path, *SMALL)
    assert [path.name for path in tmp_path.iterdir()] == ["federation.toml"]
    assert (tmp_path / "federation.toml").read_text() == "# agreed\n"


def test_a_cohort_of_two_is_warned_of(tmp_path: Path) -> None:
    printed = init(tmp_path, *(word if word != "4" else "2" for word in SMALL))
    assert "warning: in a cohort of 2 each hospital can compute the other's update" in printed
    assert federation_config.read(tmp_path / "federation.toml").federation.min_cohort == 2


def test_a_model_that_does_not_exist_is_named_and_nothing_is_written(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no-such-model"):
        init(tmp_path, *(word if word != "lenet-dlg" else "no-such-model" for word in SMALL))
    assert list(tmp_path.iterdir()) == []
