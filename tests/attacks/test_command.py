"""`flop attack run` on a run that `flop sim --record` left, and one sentence for every wrong use of
it.
"""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from attacks.command import attack_app
from attacks.gates import GATES, Gate
from attacks.methods import ATTACKS
from federation.errors import ConfigError


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


def test_every_attack_is_listed_with_its_source_and_its_needs() -> None:
    done = CliRunner().invoke(attack_app, ["list"], catch_exceptions=False, env={"COLUMNS": "300"})
    assert done.exit_code == 0
    for name, one in ATTACKS.items():
        assert name in done.output and one.paper in done.output and one.title in done.output
    rows = json.loads(CliRunner().invoke(attack_app, ["list", "--json"]).output)
    assert [row["name"] for row in rows] == list(ATTACKS)
    assert {row["answers"] for row in rows} == {"images", "membership", "label shares"}
    [oracle] = [row for row in rows if row["name"] == "oracle_head"]
    assert oracle["needs"]["oracle_head"] == "the attacked hospital's own head"


def test_the_bench_writes_rows_and_a_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a matrix of one cell, so that only the command is measured."""
    monkeypatch.setattr("attacks.command.default", lambda base, models: [base])
    words = ["bench", "--images", "2", "--image-size", "28", "--steps", "1", "--jobs", "1"]
    done = CliRunner().invoke(
        attack_app, [*words, "--out", str(tmp_path), "--json"], catch_exceptions=False
    )
    [row] = json.loads(done.stdout)
    assert row["attack"] == "varpro" and row["psnr_median"] > 0 and row["images"] == 2
    assert (tmp_path / "report.html").exists() and (tmp_path / "cells.csv").exists()


def test_a_gate_is_kept_for_the_report_and_a_failed_one_exits_with_1(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    failed = Gate("a gate", 1.0, 2.0, "dB", False, "measured by nobody", 0.0)
    monkeypatch.setitem(GATES, "failing", lambda scale: failed)
    words = ["bench", "--gates", "--gate", "failing", "--out", str(tmp_path), "--json"]
    done = CliRunner().invoke(attack_app, words, catch_exceptions=False)
    assert done.exit_code == 1
    assert json.loads((tmp_path / "gates.json").read_text())[0]["name"] == "a gate"
