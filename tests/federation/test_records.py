"""Records of a run directory: what is written is read back, and damage is named."""

from __future__ import annotations

import json
from pathlib import Path
from typing import get_args

import msgspec
import pytest

from federation.errors import ConfigError
from federation.records import RECORDS, files
from federation.records.events import (
    Event,
    HospitalJoined,
    RoundBegun,
    RoundReported,
    tag,
)
from federation.records.state import ObservedRound, RunProgress
from federation.records.summary import (
    CoordinatorSummary,
    Figures,
    HospitalSummary,
    LocalFigures,
    MergedFigures,
    MergedLine,
    MetricsLine,
    RunSummary,
    Seconds,
    Traffic,
)

FIGURES = Figures(
    examples=4,
    confusion=[[1, 1], [0, 2]],
    interval=(0.3, 0.95),
    sensitivity=[0.5, 1.0],
    metrics={"accuracy": 0.75, "kappa": None},
)
HOSPITAL = HospitalSummary(
    id="north",
    run="ab" * 16,
    algorithm="flop",
    protection="masked",
    model="cnn3",
    classes=["no", "yes"],
    round=2,
    train_examples=[3, 4],
    test_examples=[2, 2],
    shared_parameters=10,
    private_parameters=2,
    local_test=FIGURES,
    baselines={"majority": FIGURES},
    skipped_images=[],
    partition_notes=["as it is"],
    train_seconds=1.5,
    protect_seconds=0.5,
    device="cpu",
    finished=True,
)


def test_metrics_stand_beside_the_other_keys_on_disk() -> None:
    line = json.loads(files.encode(MetricsLine(round=1, metrics={"accuracy": 0.5, "f1": None})))
    assert line["accuracy"] == 0.5
    assert line["f1"] is None
    assert "metrics" not in line


def test_metrics_are_gathered_again_at_every_depth(tmp_path: Path) -> None:
    files.write(tmp_path / "summary.json", HOSPITAL)
    on_disk = json.loads((tmp_path / "summary.json").read_text())
    assert on_disk["local_test"]["accuracy"] == on_disk["baselines"]["majority"]["accuracy"] == 0.75
    assert files.read(tmp_path / "summary.json", HospitalSummary) == HOSPITAL


def test_a_summary_says_whose_it_is(tmp_path: Path) -> None:
    coordinator = CoordinatorSummary(
        run="00",
        protection="plain",
        rounds_completed=1,
        finished=True,
        stopped="",
        mean_shared_accuracy=None,
        bytes=Traffic(1, 2, 3, 0.5),
        seconds=Seconds(total=1.0),
    )
    merged = RunSummary(
        algorithm="local",
        protection="none",
        transport="none",
        model="cnn3",
        dataset="d",
        classes=["a"],
        partition="iid",
        partition_notes=[],
        hospitals=1,
        cohort=1,
        rounds=1,
        rounds_completed=1,
        seed=0,
        finished=True,
        shared_parameters=0,
        private_parameters=0,
        local_test=LocalFigures(per_hospital={"h": 1.0}, metrics={"accuracy": 1.0}),
        baselines={"linear": MergedFigures(examples=1, metrics={"accuracy": 0.0})},
        bytes=None,
        seconds=Seconds(total=1.0),
        skipped_images=[],
        data_per_hospital={},
    )
    for summary in (HOSPITAL, coordinator, merged):
        files.write(tmp_path / "summary.json", summary)
        assert files.read_summary(tmp_path / "summary.json") == summary


def test_every_event_comes_back_as_what_it_was(tmp_path: Path) -> None:
    for event in (HospitalJoined("north"), RoundBegun(3), RoundReported(3, {"north": 0.5})):
        files.append(tmp_path / "events.jsonl", event)
    first, second, third = files.read_events(tmp_path / "events.jsonl")
    assert (first, second) == (HospitalJoined("north"), RoundBegun(3))
    assert isinstance(third, RoundReported)
    assert third.accuracy == {"north": 0.5}


def test_every_event_has_a_name_of_its_own() -> None:
    kinds = get_args(Event)
    names = {kind.__struct_config__.tag for kind in kinds}
    assert len(names) == len(kinds)
    assert tag(RoundBegun(1)) == "begin"


def test_a_line_after_one_that_a_kill_cut_off_is_not_lost(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    path.write_bytes(files.encode(RoundBegun(1)) + b'\n{"event": "beg')
    files.append(path, RoundBegun(2))
    assert files.read_events(path) == [RoundBegun(1), RoundBegun(2)]


def test_a_missing_file_of_lines_has_none(tmp_path: Path) -> None:
    assert files.read_events(tmp_path / "events.jsonl") == []


def test_a_line_of_another_shape_is_named_with_its_number(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"round": 1}\n{"round": "two"}\n')
    with pytest.raises(ConfigError, match=r"metrics\.jsonl, line 2: is not a valid MetricsLine"):
        files.read_lines(path, MetricsLine)


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ('{"run": "00"', "is not valid JSON; the run that wrote it may have been killed"),
        ("[]", "is not a valid RunProgress"),
        ('{"run": "00", "last_begun": 1}', "missing required field"),
        ('{"run": "zz", "last_begun": 1}', "is not a valid RunProgress"),
        ("\xff", "is not valid JSON"),
    ],
)
def test_a_damaged_file_gives_one_sentence_with_its_path(
    tmp_path: Path, content: str, sentence: str
) -> None:
    path = tmp_path / "progress.json"
    path.write_text(content, encoding="latin-1")
    with pytest.raises(ConfigError) as error:
        files.read(path, RunProgress)
    assert str(error.value).startswith(f"{path}: ")
    assert sentence in str(error.value)
    assert "\n" not in str(error.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="does not exist"):
        files.read(tmp_path / "progress.json", RunProgress)


def test_a_key_of_a_later_version_is_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "observation.json"
    path.write_text('{"round": 1, "run": "00", "cohort": ["a"], "new": {"key": 1}}')
    assert files.read(path, ObservedRound).cohort == ("a",)


def test_a_loss_that_is_not_a_number_is_null_on_disk() -> None:
    line = json.loads(files.encode(MetricsLine(round=1, test_loss=float("nan"))))
    assert line["test_loss"] is None


def test_a_file_is_replaced_and_leaves_nothing_beside_it(tmp_path: Path) -> None:
    for durable in (False, True):
        files.write(tmp_path / "metrics.json", MetricsLine(round=1), durable=durable)
    files.write_lines(tmp_path / "metrics.jsonl", [MetricsLine(round=1), MetricsLine(round=2)])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["metrics.json", "metrics.jsonl"]
    assert [line.round for line in files.read_lines(tmp_path / "metrics.jsonl", MetricsLine)] == [
        1,
        2,
    ]


@pytest.mark.parametrize("name", RECORDS)
def test_a_schema_describes_what_is_on_disk(name: str) -> None:
    found = files.schema(RECORDS[name].kind)
    for part in found["$defs"].values():
        assert "metrics" not in part.get("properties", {})
        assert part["description"]


def test_the_schema_of_a_record_with_metrics_allows_every_metric() -> None:
    part = files.schema(MergedLine)["$defs"]["MergedLine"]
    assert part["additionalProperties"]["anyOf"] == [{"type": "number"}, {"type": "null"}]


def test_only_metrics_are_free_keys() -> None:
    with pytest.raises(msgspec.ValidationError, match="Expected `float"):
        files.decode(b'{"round": 1, "hospitals": 1, "colour": "red"}', MetricsLine)
