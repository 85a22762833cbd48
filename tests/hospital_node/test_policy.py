"""What a hospital refuses, whatever the others have agreed on."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

import flop
from federation.errors import ConfigError
from hospital_node.policy import Policy
from simulation.run.options import Options
from simulation.run.prepare import prepare
from simulation.run.processes import write_files
from tests.rig import config


@pytest.mark.parametrize("kind", ["masked", "ckks", "masked+ckks"])
def test_by_default_every_protection_against_the_coordinator_is_allowed(kind: str) -> None:
    Policy().check(config(kind, 3), "hospital.toml")


def test_by_default_an_unprotected_federation_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"policy\.protections: .*'plain', which this hospital"):
        Policy().check(config("plain", 3), "hospital.toml")


def test_a_protection_that_is_not_in_the_list_is_refused_and_the_file_is_named() -> None:
    with pytest.raises(ConfigError, match=r"north\.toml: policy\.protections: .*'masked'"):
        Policy(protections=("ckks",)).check(config("masked", 3), "north.toml")


@pytest.mark.parametrize(("least", "allowed"), [(2, True), (3, True), (4, False)])
def test_a_federation_that_goes_below_the_hospitals_minimum_is_refused(
    least: int, allowed: bool
) -> None:
    policy, agreed = Policy(min_cohort=least), config("masked", 5, min_cohort=3)
    if allowed:
        policy.check(agreed, "hospital.toml")
    else:
        with pytest.raises(ConfigError, match=r"policy\.min_cohort: .* 3 hospitals"):
            policy.check(agreed, "hospital.toml")


@pytest.mark.parametrize(
    ("agreed", "asked", "sentence"),
    [
        ('protections = [\n    "masked",\n]', 'protections = ["ckks"]', "policy.protections"),
        ("min_cohort = 3", "min_cohort = 4", "policy.min_cohort"),
    ],
)
def test_flop_node_ends_with_code_2_if_the_policy_refuses_the_federation(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    agreed: str,
    asked: str,
    sentence: str,
) -> None:
    prepared = prepare(Options.of(data="phantom-cxr:60", image_size=28, hospitals=3, out=tmp_path))
    write_files(prepared)
    path = prepared.folder / f"{prepared.ids[0]}.toml"
    assert agreed in path.read_text()
    path.write_text(path.read_text().replace(agreed, asked))

    def went_on(*given: object) -> None:
        raise AssertionError("the node went on")

    monkeypatch.setattr("hospital_node.service.assemble", went_on)
    monkeypatch.setattr(sys, "argv", ["flop", "node", "--config", str(path)])
    with pytest.raises(SystemExit) as ended:
        flop.main()
    said = capsys.readouterr().err
    assert ended.value.code == 2 and f"{path}: {sentence}: " in said
    assert not (tmp_path / "hospitals").exists(), "nothing was read, trained or sent"
