"""`flop attack run` on a run that `flop sim --record` left, and one sentence for every wrong use of
it.
"""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from attacks.command import attack_app
from federation.errors import ConfigError
from simulation.run.command import sim_app

TINY = (
    "--data phantom-cxr:6 --model lenet-dlg --image-size 28 --hospitals 3 --rounds 1 --batch-size 1"
    " --optimizer sgd --lr 0.1"
)


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("run")
    words = (
        f"{TINY} --record --protection plain --transport memory --device cpu --no-baselines --out"
        f" {out}".split()
    )
    done = CliRunner().invoke(sim_app, words, catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return out


def attack(*words: object) -> str:
    done = CliRunner().invoke(attack_app, ["run", *map(str, words)], catch_exceptions=False)
    assert done.exit_code == 0
    return done.output


def test_a_recorded_round_is_attacked_and_leaves_a_picture_of_every_hospital(
    recorded: Path,
) -> None:
    said = json.loads(
        attack(
            "--run",
            recorded,
            "--attack",
            "varpro",
            "--round",
            1,
            "--steps",
            3,
            "--restarts",
            1,
            "--json",
        )
    )
    assert len(said["objective"]) == 3 and said["steps"] > 0
    assert len(list(Path(said["out"]).glob("*.png"))) == 3
    assert "objective" not in attack("--run", recorded, "--steps", 1, "--restarts", 1, "--most", 1)


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("--round", 7), "holds no recording of round 7; recorded are 1"),
        (("--attack", "magic"), "no attack is called 'magic'; choose one of dlg"),
        (
            ("--attack", "dlg"),
            "dlg cannot run on this observation, it needs the update of every layer",
        ),
        (("--attack", "oracle_head"), "it needs the attacked hospital's own head"),
        (("--device", "tpu"), "no device is called 'tpu'"),
        (("--images", 0), "at least 1 each"),
    ],
)
def test_a_wrong_use_is_answered_in_one_sentence(
    recorded: Path, words: tuple[object, ...], sentence: str
) -> None:
    with pytest.raises(ConfigError, match=sentence) as error:
        attack("--run", recorded, *words)
    assert "\n" not in str(error.value)


def test_no_run_and_a_run_that_was_not_recorded(recorded: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="flop sim --record"):
        attack("--run", tmp_path)
    (tmp_path / "config.toml").write_text((recorded / "config.toml").read_text())
    with pytest.raises(ConfigError, match="again with --record"):
        attack("--run", tmp_path)


def test_an_unknown_gate_and_engine_are_answered_with_the_choices() -> None:
    gate, engine = ["--gates", "--gate", "magic"], ["--engine", "cloud"]
    for words, sentence in ((gate, "there is no such gate; choose dlg"), (engine, "joblib or ray")):
        with pytest.raises(ConfigError, match=sentence):
            CliRunner().invoke(attack_app, ["bench", *words], catch_exceptions=False)
