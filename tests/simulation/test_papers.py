"""Every name of `flop experiment list` runs at scale smoke; what they compute is right; a grid is
gone on with, not repeated.
"""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from federation.errors import ConfigError
from hospital_node.learner import Learner
from learning.data import DataError, open_dataset
from learning.metrics import normal_half_width
from simulation.papers import paper, runner
from simulation.papers.command import experiment_app
from simulation.papers.declared import STUDIES
from simulation.papers.grid import Grid, best, majority_verdict
from simulation.papers.output import header
from simulation.papers.runner import Results
from simulation.papers.studies import StudyRun, runs
from simulation.papers.tables import PaperTable, PlusMinus, over_seeds, proportion
from simulation.papers.train import execute, subset
from simulation.papers.views import VIEWS, names_of
from simulation.run.federate import Federation
from simulation.run.prepare import prepare

NAMES = (
    *(f"flop-table{number}" for number in range(1, 9)),
    *(f"flop-figure{number}" for number in range(2, 8)),
    *(f"fedavg-table{number}" for number in range(1, 5)),
    *(f"fedavg-figure{number}" for number in range(2, 9)),
)


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One folder of runs for all names: views of one study share them."""
    return tmp_path_factory.mktemp("papers")


def command(*arguments: str) -> str:
    found = CliRunner().invoke(experiment_app, list(arguments), catch_exceptions=False)
    assert found.exit_code == 0, found.output
    return found.output


def test_all_names_of_the_papers_are_there() -> None:
    assert set(VIEWS) == set(NAMES)
    assert {view.study for view in VIEWS.values()} | {"covidx-iid", "kvasir-iid"} == set(STUDIES)
    listed = command("list")
    assert all(name in listed for name in NAMES)
    assert [one["name"] for one in json.loads(command("list", "--json"))] == list(VIEWS)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.slow
def test_runs_at_smoke(name: str, out: Path) -> None:
    written = json.loads(
        command(
            "run", name, "--scale", "smoke", "--jobs", "1", "--out", str(out), "--json"
        ).splitlines()[-1]
    )
    report = Path(written[0])
    assert report == out / name / "report.html"
    page, text = report.read_text(), (report.parent / "README.md").read_text()
    assert "data:image/png;base64," in page and "Ours, because the paper leaves it open" in page
    assert (
        "its figures mean nothing" in text and f"flop experiment run {name} --scale smoke" in text
    )
    kind = "table.csv" if "table" in name else "*.png"
    assert len(list(report.parent.glob(kind))) >= 1
    assert (report.parent / "holdings.png").read_bytes().startswith(b"\x89PNG")


@pytest.fixture
def small(tmp_path: Path) -> StudyRun:
    return replace(
        runs(STUDIES["fashion"], "smoke")[1], data="phantom-cxr:60", hospitals=4, cohort=2
    )


def test_a_finished_run_is_not_run_again(
    small: StudyRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Results(tmp_path)
    told: list[str] = []
    other = replace(small, seed=1)
    first = runner.train([small], store, "joblib", 1, told.append)
    trained = []
    monkeypatch.setattr(
        runner, "execute", lambda run, cache: trained.append(run) or execute(run, cache)
    )
    found = runner.train([small, other], store, "joblib", 1, told.append)
    assert trained == [other] and [one.run for one in found] == [small, other]
    assert (
        found[0].figures == store.read(small).figures
        and found[0].figures["rounds"] == first[0].figures["rounds"]
    )
    assert store.read(replace(small, lr=0.5)) is None, "other settings are another run"


def test_the_same_run_gives_the_same_figures_and_another_seed_others(
    small: StudyRun, tmp_path: Path
) -> None:
    once, twice, other = (
        execute(run, tmp_path).figures for run in (small, small, replace(small, seed=1))
    )
    assert once["rounds"] and _without_times(once) == _without_times(twice)
    assert [line["test_loss"] for line in once["rounds"]] != [
        line["test_loss"] for line in other["rounds"]
    ]


def _without_times(figures: dict) -> dict:
    rounds = [
        {key: value for key, value in line.items() if "seconds" not in key}
        for line in figures["rounds"]
    ]
    return {**figures, "seconds": 0, "rounds": rounds}


def test_a_federation_of_many_holds_one_network_and_the_images_once(tmp_path: Path) -> None:
    options = small_options(tmp_path).but(hospitals=12, cohort=2, min_cohort=2)
    federation = Federation(prepare(options))
    learners = federation.learners
    assert len({id(learner.model) for learner in learners}) == 1
    assert len({learner.data.images.data_ptr() for learner in learners}) == 1
    federation.play()
    trained = sum(
        len([line for line in storage.metrics() if line.train_seconds is not None])
        for storage in federation.storages
    )
    rounds = options.agreed.federation
    assert trained == rounds.rounds * rounds.cohort, "only the cohort trains"
    assert all(len(storage.metrics()) == options.rounds for storage in federation.storages), (
        "everybody is tested"
    )


def small_options(folder: Path):
    run = replace(runs(STUDIES["fashion"], "smoke")[1], data="phantom-cxr:60", batch_size=10)
    return run.options(folder / "run")


def test_one_network_for_all_gives_the_bytes_of_one_network_each(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = small_options(tmp_path).but(hospitals=4, cohort=2, min_cohort=2, model="mobilenetv2")
    shared = Federation(prepare(options))
    shared.play()
    kept = Learner.__init__
    monkeypatch.setattr(Learner, "__init__", lambda self, *given: kept(self, *given[:5]))
    each = Federation(prepare(options.but(out=tmp_path / "each")))
    each.play()
    assert len({id(learner.model) for learner in each.learners}) == 4
    for number, learner in enumerate(each.learners):
        np.testing.assert_array_equal(
            each.hospitals[number].session.shared.vector,
            shared.hospitals[number].session.shared.vector,
        )
        for name, value in learner.private.items():
            np.testing.assert_array_equal(value, shared.learners[number].private[name])


def test_a_subset_keeps_class_shares_and_groups() -> None:
    index = open_dataset("phantom-cxr:600", image_size=28).train
    part = subset(index, 200)
    assert 195 <= len(part) <= 215
    np.testing.assert_allclose(
        np.bincount(part.labels) / len(part), np.bincount(index.labels) / len(index), atol=0.03
    )
    for group in set(part.groups):
        assert (part.groups == group).sum() == (index.groups == group).sum()
    row = int(np.flatnonzero(part.groups == part.groups[-1])[0])
    whole = int(np.flatnonzero(index.groups == part.groups[-1])[0])
    assert torch.equal(part.load([row]).images, index.load([whole]).images)


def test_figures_of_the_tables() -> None:
    assert over_seeds([0.5, 0.7, None]) == PlusMinus(
        pytest.approx(60.0), pytest.approx(14.142, abs=1e-3)
    )
    assert over_seeds([0.5]) == PlusMinus(50.0, None) and over_seeds([]) is None
    assert proportion(0, 0) is None
    assert proportion(160, 200, seeds=2) == proportion(80, 100), (
        "a second seed tests the same images, which are not more for it"
    )
    assert best(
        {
            "rounds": [
                {"round": 1, "accuracy": 0.4},
                {"round": 2, "accuracy": 0.6},
                {"round": 3, "accuracy": 0.6},
            ]
        }
    ) == (0.6, 2)
    table = PaperTable("t", ("model", "x"), (("a", PlusMinus(1.5, 0.25)), ("b", None), ("c", 2.0)))
    assert table.csv() == "model,x,x ±\na,1.5000,0.2500\nb,,\nc,2.0000,\n"
    assert "| a | 1.50 ± 0.25 |" in table.markdown() and "| b | – |" in table.markdown()


@pytest.mark.parametrize(
    ("name", "part", "images"), [("fedavg-table2", "train", 13703), ("fedavg-table2", "test", 1579)]
)
def test_the_fedavg_papers_plus_minus_are_binomial_intervals(
    name: str, part: str, images: int
) -> None:
    """And table III's are those of training and test images together, which is why ours is computed
    so.
    """
    for (where, _), cell in paper.TABLES[name].items():
        if where == part:
            assert cell.spread == pytest.approx(
                100 * normal_half_width(cell.value / 100, images), abs=0.06
            )
    together = {class_: sum(counts) for class_, counts in paper.COVIDX_COUNTS.items()}
    for (class_, _), cell in paper.TABLES["fedavg-table3"].items():
        assert cell.spread == pytest.approx(
            100 * normal_half_width(cell.value / 100, together[class_]), abs=0.1
        )


def test_the_papers_confusions_give_its_accuracies() -> None:
    for model, counts in paper.CONFUSIONS.items():
        found = np.array(counts)
        assert 100 * found.trace() / found.sum() == pytest.approx(
            paper.TABLES["fedavg-table2"]["test", model].value, abs=0.01
        )


def test_the_header_says_when_the_majority_class_is_not_beaten(
    small: StudyRun, tmp_path: Path
) -> None:
    result = execute(small, tmp_path)
    grid = Grid(STUDIES["fashion"], STUDIES["fashion"].scales["smoke"], [result])
    result.figures["majority"] = best(result.figures)[0] - 0.05
    assert "1 of 1 runs do NOT beat" in majority_verdict(grid) and "+5.0" in majority_verdict(grid)
    scale = STUDIES["covidx"].scales["smoke"]
    said = header(STUDIES["covidx"], scale, replace(grid, scale=scale))
    assert "NOT RUN of this scale: models COVID-Net, MobileNet-v2." in said
    result.figures["majority"] = best(result.figures)[0] - 0.2
    assert "at least 10 points" in majority_verdict(grid)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("run", "flop-table9"), "there is no experiment 'flop-table9'"),
        (("run", "fashion", "--scale", "huge"), "--scale huge: choose smoke, cpu, full"),
        (
            ("run", "fashion", "--scale", "smoke", "--models", "vgg11"),
            "--models vgg11: fashion at scale smoke has cnn3",
        ),
        (
            ("run", "fashion", "--scale", "smoke", "--engine", "dask"),
            "--engine dask: choose joblib or ray",
        ),
    ],
)
def test_mistakes_are_sentences(arguments: tuple[str, ...], sentence: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=sentence):
        CliRunner().invoke(
            experiment_app, [*arguments, "--out", str(tmp_path)], catch_exceptions=False
        )


def test_ray_is_asked_for_by_name_where_it_is_missing(
    small: StudyRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(
        ConfigError, match=r"Ray is not installed; pip install 'flop-federation\[ray\]'"
    ):
        runner.train([small], Results(tmp_path), "ray", 1, print)


class OtherError(Exception):
    """Ray's own, around what a task raised."""

    def __init__(self, cause: Exception) -> None:
        self.cause = cause


def test_on_a_ray_cluster_every_result_is_kept_at_once(
    small: StudyRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With what is used of Ray; that the real one gives the figures of `--engine joblib` was tried
    by hand.
    """
    asked: list[dict] = []

    def get(work):
        try:
            return work()
        except Exception as error:
            raise OtherError(error) from error

    ray = SimpleNamespace(
        init=lambda **options: asked.append(options),
        cluster_resources=lambda: {"CPU": 8.0, "GPU": 1.0},
        remote=lambda **options: (
            asked.append(options)
            or (lambda work: SimpleNamespace(remote=lambda *given: partial(work, *given)))
        ),
        wait=lambda running, num_returns: (running[:num_returns], running[num_returns:]),
        get=get,
        exceptions=SimpleNamespace(RayTaskError=OtherError),
    )
    monkeypatch.setitem(sys.modules, "ray", ray)
    store, broken = Results(tmp_path), replace(small, data="nowhere")
    with pytest.raises(DataError, match="nowhere"):
        runner.train([small, broken, replace(small, seed=2)], store, "ray", 2, print)
    assert store.read(small) is not None and store.read(replace(small, seed=2)) is None
    assert asked[1]["num_gpus"] == 0.5, "two at a time share the accelerator"


def test_a_study_means_all_its_views() -> None:
    assert [view.name for view in names_of("kvasir")] == [
        "flop-table3",
        "flop-table4",
        "flop-figure5",
    ]
    assert len(names_of("all")) == len(VIEWS) and names_of("nothing") == []
