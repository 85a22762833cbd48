"""report.html of a finished run: every number comes from the run directory, and nothing in it needs
a network.
"""

from __future__ import annotations

import html
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tomli_w
from typer.testing import CliRunner

from federation.errors import ConfigError
from federation.protections.sees import Fact, Seen, helpers
from hospital_node.summary import figures
from simulation.report import visible
from simulation.report.command import report_app
from simulation.report.read import read_run
from simulation.report.report import write_report

CLASSES = ["normal", "pneumonia", "covid19"]
IDS = [f"hospital-{number}" for number in range(1, 6)]
PNG = "data:image/png;base64,"


def confusion(right: float, counts: list[int]) -> list[list[int]]:
    """A matrix with a share `right` on its diagonal."""
    matrix = np.zeros((len(counts),) * 2, int)
    for row, count in enumerate(counts):
        matrix[row, row] = round(right * count)
        matrix[row, (row + 1) % len(counts)] = count - matrix[row, row]
    return matrix.tolist()


def hospital(number: int, rounds: int = 12) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """summary.json and metrics.jsonl of one hospital."""
    train = [[150, 40, 30], [30, 160, 20], [60, 50, 90], [80, 70, 10], [20, 20, 20]][number % 5]
    test = [max(1, count // 4) for count in train]
    scores = [
        0.33 + (0.55 + 0.02 * number) * (1 - np.exp(-round_ / 3.0))
        for round_ in range(1, rounds + 1)
    ]
    lines = [
        {"round": round_, "train_loss": 1.0 / round_, "train_seconds": 1.5, "steps": 7, "counted": True, "accuracy": score,
         "balanced_accuracy": score, "test_loss": 0.9 / round_, "clipped": 3}
        for round_, score in enumerate(scores, 1)
        if round_ != 5
    ]  # fmt: skip
    summary = {
        "id": IDS[number],
        "run": "00" * 16,
        "algorithm": "flop",
        "protection": "masked",
        "model": "cnn3",
        "classes": CLASSES,
        "round": rounds,
        "finished": True,
        "train_examples": train,
        "test_examples": test,
        "shared_parameters": 51_000,
        "private_parameters": 98_307,
        "local_test": figures(confusion(scores[-1], test)),
        "baselines": {
            "majority": figures(majority(test)),
            "linear": figures(confusion(0.62, test)),
            "local": figures(confusion(0.74, test)),
        },
        "skipped_images": ["scan <07>.png: is cut off after 812 bytes"] if number == 1 else [],
        "partition_notes": ["by:site: 14 sites were put together to 5 hospitals"],
        "train_seconds": 18.0,
        "device": "cpu",
    }
    return summary, lines


def majority(test: list[int]) -> list[list[int]]:
    matrix = np.zeros((3, 3), int)
    matrix[:, int(np.argmax(test))] = test
    return matrix.tolist()


EVENTS = [
    *({"event": "joined", "hospital": name} for name in IDS),
    {"event": "begin", "round": 4},
    {
        "event": "lost",
        "hospital": "hospital-2",
        "phase": "masked_update",
        "code": "lost",
        "text": "made no progress for 30 s",
    },
    {"event": "begin", "round": 5},
    {
        "event": "lost",
        "hospital": "hospital-2",
        "phase": "advertise_keys",
        "code": "lost",
        "text": "is not connected",
    },
    {
        "event": "lost",
        "hospital": "hospital-4",
        "phase": "advertise_keys",
        "code": "lost",
        "text": "is not connected",
    },
    {
        "event": "aborted",
        "round": 5,
        "code": "threshold",
        "text": "advertise_keys: 3 hospitals are left, 4 are needed",
    },
    {"event": "begin", "round": 6},
    {"event": "reported", "round": 6, "accuracy": {"0": 0.8}},
]


def write_run(folder: Path, **changes: Any) -> Path:
    """A run directory as `flop sim` leaves it; `changes` are keys of its summary."""
    summaries = []
    for number, name in enumerate(IDS):
        place = folder / "hospitals" / name
        place.mkdir(parents=True)
        summary, lines = hospital(number)
        summaries.append(summary)
        (place / "summary.json").write_text(json.dumps(summary))
        (place / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    merged = {
        "algorithm": "flop",
        "protection": "masked",
        "transport": "zmq",
        "model": "cnn3",
        "dataset": "phantom-cxr",
        "hospitals": 5,
        "cohort": 5,
        "rounds_completed": 11,
        "seed": 0,
        "shared_parameters": 51_000,
        "private_parameters": 98_307,
        "local_test": {"accuracy": 0.5, "per_hospital": {}},
        "global_test": figures(confusion(0.9, [50, 50, 50])),
        "bytes": {"upload_per_hospital_per_round": 102_096, "download_per_hospital_per_round": 102_000, "plain_float32": 204_000,
                  "expansion": 0.5},
        "seconds": {"total": 71.2, "train": 18.0, "protect": 0.41, "aggregate": 0.22},
        **changes,
    }  # fmt: skip
    (folder / "summary.json").write_text(json.dumps(merged))
    (folder / "events.jsonl").write_text(
        "".join(json.dumps(event) + "\n" for event in EVENTS) + '{"event": "cut o'
    )
    config = {
        "federation": {"rounds": 12, "cohort": 5, "name": "simulation"},
        "model": {"classes": CLASSES, "image_size": 64},
    }
    (folder / "config.toml").write_text(tomli_w.dumps(config))
    return folder


def text_of(page: str) -> str:
    """What a reader sees: no tags, no pictures."""
    return re.sub(
        r"\s+",
        " ",
        html.unescape(
            re.sub(r"<[^>]+>", " ", re.sub(r"<style>.*?</style>", " ", page, flags=re.S))
        ),
    )


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> str:
    return write_report(write_run(tmp_path_factory.mktemp("run"))).read_text()


def test_headline_is_the_sum_of_the_hospitals_tests(page: str) -> None:
    counts = np.sum([hospital(number)[0]["local_test"]["confusion"] for number in range(5)], axis=0)
    alone = np.sum(
        [hospital(number)[0]["baselines"]["local"]["confusion"] for number in range(5)], axis=0
    )
    shown = text_of(page)
    assert f"{100 * np.trace(counts) / counts.sum():.1f} %" in shown
    assert f"{100 * np.trace(alone) / alone.sum():.1f} %" in shown
    low, high = figures(counts)["interval"]
    assert f"{100 * low:.1f}–{100 * high:.1f} %" in shown
    assert "This run is clearly above majority class, linear model and training alone." in shown


def test_the_page_is_one_file(page: str) -> None:
    assert page.count(PNG) == 5
    assert (
        not re.search(r"""(src|href)=["'](?!data:)""", page)
        and "http" not in page
        and "url(" not in page
    )


def test_what_went_wrong_is_told_with_its_round(page: str) -> None:
    shown = text_of(page)
    assert "5 – aborted advertise_keys: 3 hospitals are left, 4 are needed" in shown
    assert "4 hospital-2 lost made no progress for 30 s" in shown
    assert "unless 3 of the other hospitals help it" in shown
    assert "by:site: 14 sites were put together to 5 hospitals" in shown


def test_names_from_outside_are_text_not_html(page: str) -> None:
    assert "scan &lt;07&gt;.png: is cut off" in page and "<07>" not in page


def test_a_protection_is_described_as_it_is(tmp_path: Path) -> None:
    for kind, sees in (("plain", True), ("masked", False), ("ckks", False)):
        rows = {row.fact: row.seen for row in visible.rows(kind, "flop", told=False)}
        assert (rows[Fact.UPDATE] == Seen.YES) == sees
        assert (rows[Fact.MODEL] == Seen.NO) == (kind == "ckks")
        assert rows[Fact.SCORE] == Seen.NO
    shown = text_of(write_report(write_run(tmp_path / "run", protection="plain")).read_text())
    assert (
        "could read every hospital's update" in shown
        and "these hospitals' policy shares it" in shown
    )


@pytest.mark.parametrize(
    ("cohort", "threshold", "fewest"),
    [(3, 3, 2), (4, 3, 2), (5, 4, 3), (6, 5, 4), (7, 5, 3), (10, 7, 4)],
)
def test_how_many_must_collude(cohort: int, threshold: int, fewest: int) -> None:
    """By trying: two signed survivor sets, of which honest hospitals sign one each, or one with a
    single honest hospital.
    """

    def breaks(colluders: int) -> bool:
        honest = cohort - colluders
        return 2 * max(0, threshold - colluders) <= honest or threshold - colluders <= 1

    assert (
        min(count for count in range(cohort) if breaks(count))
        == fewest
        == helpers(cohort, threshold)
    )


def test_a_verdict_claims_no_more_than_the_intervals_allow(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run")
    for name in IDS:
        path = folder / "hospitals" / name / "summary.json"
        summary = json.loads(path.read_text())
        summary["baselines"]["local"] = summary["local_test"]
        path.write_text(json.dumps(summary))
    shown = text_of(write_report(folder).read_text())
    assert (
        "clearly above majority class and linear model; not to be told from training alone: the 95"
        " % intervals overlap" in shown
    )


def test_nothing_went_wrong(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run")
    (folder / "events.jsonl").unlink()
    path = folder / "hospitals" / IDS[1] / "summary.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "skipped_images": []}))
    assert "Nothing: no round was aborted" in text_of(write_report(folder).read_text())


def test_a_coordinators_directory_shows_no_hospitals(tmp_path: Path) -> None:
    summary = {"run": "00" * 16, "protection": "masked", "rounds_completed": 3, "finished": False, "stopped": "stopped",
               "mean_shared_accuracy": 0.81, "bytes": {}, "seconds": {"total": 9.0}}  # fmt: skip
    (tmp_path / "summary.json").write_text(json.dumps(summary))
    shown = text_of(write_report(tmp_path).read_text())
    assert "told the coordinator 81.0 %" in shown and "stopped before its last round" in shown


def test_a_hospitals_own_directory(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run") / "hospitals" / IDS[0]
    run = read_run(folder)
    assert [one.id for one in run.hospitals] == [IDS[0]]
    shown = text_of(write_report(folder).read_text())
    assert (
        IDS[0] in shown
        and "in the coordinator's report" in shown
        and "own test accuracy" not in shown
    )


def test_algorithms_that_send_nothing_have_no_coordinator(tmp_path: Path) -> None:
    shown = text_of(
        write_report(write_run(tmp_path / "run", algorithm="local", protection="plain")).read_text()
    )
    assert "coordinator could see" not in shown and "Bytes of one round" not in shown


def test_the_same_run_gives_the_same_page(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run")
    assert write_report(folder).read_bytes() == write_report(folder).read_bytes()


@pytest.mark.parametrize("content", [None, "{", "[]", '{"cells": 3}'])
def test_a_folder_without_a_run_is_refused_in_a_sentence(
    tmp_path: Path, content: str | None
) -> None:
    if content is not None:
        (tmp_path / "summary.json").write_text(content)
    with pytest.raises(ConfigError, match=re.escape(str(tmp_path))):
        write_report(tmp_path)


def test_command_prints_where_it_is(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run")
    result = CliRunner().invoke(report_app, [str(folder)])
    assert result.exit_code == 0 and result.output.strip() == str(folder / "report.html")
