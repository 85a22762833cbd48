"""report.html of a finished run: every number comes from the run directory, and nothing in it needs
a network.
"""

from __future__ import annotations

import html
import json
import re
from pathlib import Path

import msgspec
import numpy as np
import pytest
from typer.testing import CliRunner

from federation.errors import ConfigError
from federation.protections.sees import Fact, Seen, helpers
from federation.records import files
from federation.records.summary import (
    CoordinatorSummary,
    Figures,
    HospitalSummary,
    Seconds,
    Traffic,
)
from hospital_node.summary import figures
from learning.metrics import METRICS, Metric
from simulation.report import visible
from simulation.report.command import report_app, schema_app
from simulation.report.read import read_run
from simulation.report.report import write_report
from tests.simulation.run_directory import (
    IDS,
    hospital,
    round_of,
    write_events,
    write_run,
)

PNG = "data:image/png;base64,"


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
    every = [hospital(number) for number in range(5)]
    counts = np.sum([one.local_test.confusion for one in every], axis=0)
    alone = np.sum([one.baselines["local"].confusion for one in every], axis=0)
    shown = text_of(page)
    assert f"{100 * np.trace(counts) / counts.sum():.1f} %" in shown
    assert f"{100 * np.trace(alone) / alone.sum():.1f} %" in shown
    low, high = figures(counts).interval or (0, 0)
    assert f"{100 * low:.1f}–{100 * high:.1f} %" in shown
    assert "This run is clearly above majority class, linear model and training alone." in shown


def test_every_metric_has_a_card_and_a_column(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(
        METRICS,
        "wrong",
        Metric("wrong images", "smaller is better", lambda _: 7.0, text="{:.0f} wrong".format),
    )
    shown = text_of(write_report(write_run(tmp_path / "run")).read_text())
    assert "7 wrong wrong images: smaller is better" in shown
    assert shown.count("7 wrong") == 1 + 4, "a card, and a row for the run and each baseline"


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
    for number, name in enumerate(IDS):
        summary = hospital(number)
        summary.baselines["local"] = summary.local_test
        files.write(folder / "hospitals" / name / "summary.json", summary)
    shown = text_of(write_report(folder).read_text())
    assert (
        "clearly above majority class and linear model; not distinguishable from training alone:"
        " the 95 % intervals overlap" in shown
    )


def test_nothing_went_wrong(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run")
    (folder / "events.jsonl").unlink()
    path = folder / "hospitals" / IDS[1] / "summary.json"
    files.write(path, msgspec.structs.replace(hospital(1), skipped_images=[]))
    assert "Nothing: no round was aborted" in text_of(write_report(folder).read_text())


def test_sums_that_differ_by_one_hospital_are_a_warning(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run")
    write_events(folder, (*round_of(2, *IDS), *round_of(3, *IDS[1:])))
    shown = text_of(write_report(folder).read_text())
    assert (
        "WARNING: rounds 2 and 3 had the same participants except hospital-1. Anyone with both"
        " sums can subtract them and obtain hospital-1's update." in shown
    )


def test_without_protection_there_is_no_warning_of_sums(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run", protection="plain")
    write_events(folder, (*round_of(2, *IDS), *round_of(3, *IDS[1:])))
    assert "WARNING" not in text_of(write_report(folder).read_text())


def test_a_coordinators_directory_shows_no_hospitals(tmp_path: Path) -> None:
    summary = CoordinatorSummary(
        run="00" * 16,
        protection="masked",
        rounds_completed=3,
        finished=False,
        stopped="stopped",
        mean_shared_accuracy=0.81,
        bytes=Traffic(0, 0, 0, None),
        seconds=Seconds(total=9.0),
    )
    files.write(tmp_path / "summary.json", summary)
    shown = text_of(write_report(tmp_path).read_text())
    assert "had 81.0 % on average" in shown
    assert "stopped before its last round" in shown


def test_a_hospitals_own_directory(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run") / "hospitals" / IDS[0]
    run = read_run(folder)
    assert [one.id for one in run.hospitals] == [IDS[0]]
    shown = text_of(write_report(folder).read_text())
    assert IDS[0] in shown
    assert "coordinator's report says what happened" in shown
    assert "own test accuracy" not in shown


def test_a_hospital_without_test_images_has_no_score(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run")
    path = folder / "hospitals" / IDS[0] / "summary.json"
    empty = figures(np.zeros((3, 3)))
    files.write(path, msgspec.structs.replace(hospital(0), local_test=empty, baselines={}))
    run = read_run(folder)
    assert run.hospitals[0].test is None
    assert run.test is None, "not all hospitals have a test"
    assert isinstance(hospital(0).local_test, Figures)
    write_report(folder)


def test_a_restarted_hospitals_round_counts_once(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run") / "hospitals" / IDS[0]
    last = read_run(folder).hospitals[0].rounds[-1]
    files.append(folder / "metrics.jsonl", msgspec.structs.replace(last, metrics={"accuracy": 0.1}))
    again = read_run(folder).hospitals[0].rounds
    assert [line.round for line in again] == [1, 2, 3, 4, *range(6, 13)]
    assert again[-1].metrics == {"accuracy": 0.1}


def test_a_damaged_summary_of_a_hospital_is_named(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run")
    path = folder / "hospitals" / IDS[2] / "summary.json"
    path.write_text('{"kind": "hospital", "id": 3}')
    with pytest.raises(ConfigError, match=f"{path}: is not a valid {HospitalSummary.__name__}"):
        read_run(folder)


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


def test_the_schema_command_lists_records_and_prints_one() -> None:
    listed = CliRunner().invoke(schema_app, [])
    assert listed.exit_code == 0
    assert "hospitals/*/metrics.jsonl" in listed.output
    printed = json.loads(CliRunner().invoke(schema_app, ["simulation"]).output)
    assert "local_test" in printed["$defs"]["RunSummary"]["properties"]


def test_the_schema_command_names_what_there_is() -> None:
    result = CliRunner().invoke(schema_app, ["nothing"])
    assert isinstance(result.exception, ConfigError)
    assert "choose simulation, coordinator, hospital" in str(result.exception)
