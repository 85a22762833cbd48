"""The files of a run are the records that `flop schema` prints, and a new metric is in all."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from federation.records import RECORDS, files
from learning.metrics import METRICS, Metric
from simulation.run.options import Options
from simulation.run.simulate import simulate
from simulation.run.summary import sentences
from tests.simulation.test_report import text_of


def kappa(counts: np.ndarray) -> float:
    """Cohen's kappa: agreement beyond what the margins alone would give."""
    total = counts.sum()
    chance = float((counts.sum(axis=0) * counts.sum(axis=1)).sum()) / float(total) ** 2
    return (float(counts.trace()) / float(total) - chance) / (1 - chance) if chance < 1 else 0.0


def run(out: Path, **changes: Any) -> list[str]:
    """A small run in memory; what its end prints."""
    options = Options.of(
        data="phantom-cxr:200",
        image_size=28,
        hospitals=3,
        rounds=2,
        transport="memory",
        out=out,
        **changes,
    )
    return sentences(simulate(options, Console(quiet=True)), out)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("run") / "out"
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(
            METRICS,
            "kappa",
            Metric("kappa", "agreement beyond chance", kappa, text="{:.2f}".format),
        )
        said = run(out, record=True)
    (out / "said.txt").write_text("\n".join(said))
    return out


def records(folder: Path, name: str) -> list[str]:
    """The JSON of every record of this name."""
    pattern = RECORDS[name].path
    found = [path.read_text() for path in sorted(folder.glob(pattern))]
    lines = [line for text in found for line in text.splitlines()]
    return lines if pattern.endswith(".jsonl") else found


@pytest.mark.parametrize("name", sorted(set(RECORDS) - {"coordinator", "status", "memory"}))
def test_a_round_trip_through_its_record_loses_nothing(folder: Path, name: str) -> None:
    found = records(folder, name)
    assert found
    for text in found:
        assert json.loads(files.encode(files.decode(text, RECORDS[name].kind))) == json.loads(text)


@pytest.mark.parametrize("name", ["simulation", "hospital", "metrics", "hospital-metrics"])
def test_a_file_has_the_keys_that_its_schema_requires(folder: Path, name: str) -> None:
    schema = files.schema(RECORDS[name].kind)
    part = schema["$defs"][schema["$ref"].rpartition("/")[2]]
    for text in records(folder, name):
        keys = set(json.loads(text))
        assert set(part["required"]) <= keys
        assert keys <= set(part["properties"]) | (
            set(METRICS) | {"kappa"} if "additionalProperties" in part else set()
        )


def test_summary_json_has_the_keys_that_users_know(folder: Path) -> None:
    summary = json.loads((folder / "summary.json").read_text())
    assert summary["local_test"].keys() >= {
        "accuracy",
        "balanced_accuracy",
        "confusion",
        "per_hospital",
    }
    assert summary["baselines"].keys() == {"majority", "linear", "local"}
    assert summary["seconds"].keys() >= {"total", "train", "protect", "aggregate"}
    assert summary["bytes"].keys() == {
        "upload_per_hospital_per_round",
        "download_per_hospital_per_round",
        "plain_float32",
        "expansion",
    }
    assert summary["finished"] is True


def test_a_metric_that_is_one_line_is_everywhere(folder: Path) -> None:
    summary = json.loads((folder / "summary.json").read_text())
    counts = np.array(summary["local_test"]["confusion"])
    assert summary["local_test"]["kappa"] == pytest.approx(kappa(counts))
    for line in records(folder, "metrics") + records(folder, "hospital-metrics"):
        assert isinstance(json.loads(line)["kappa"], float)
    for text in records(folder, "hospital"):
        assert {"kappa"} <= json.loads(text)["local_test"].keys()
        assert {"kappa"} <= json.loads(text)["baselines"]["local"].keys()
    shown = f"{kappa(counts):.2f}"
    assert f"kappa {shown}" in (folder / "said.txt").read_text()
    page = text_of((folder / "report.html").read_text())
    assert f"{shown} kappa: agreement beyond chance" in page


@pytest.mark.parametrize("algorithm", ["local", "central"])
def test_what_trains_without_a_federation_writes_the_same_records(
    tmp_path: Path, algorithm: str
) -> None:
    out = tmp_path / "out"
    said = run(out, algorithm=algorithm, baselines=False)
    for name in ("simulation", "hospital", "metrics", "hospital-metrics"):
        found = records(out, name)
        assert found
        for text in found:
            assert json.loads(files.encode(files.decode(text, RECORDS[name].kind))) == (
                json.loads(text)
            )
    assert json.loads(records(out, "hospital")[0])["algorithm"] == algorithm
    assert json.loads(records(out, "simulation")[0])["bytes"] is None
    assert said[0].startswith(f"{algorithm.upper()} on phantom-cxr")
