"""`import flop`: federations on own arrays, with a named model and with an own module."""

from __future__ import annotations

import signal
import threading
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import flop
from attacks.runs import Run
from federation.errors import ConfigError
from learning import models

Y = np.arange(60) % 2
X = (np.random.default_rng(0).integers(0, 80, (60, 28, 28)) + 100 * Y[:, None, None]).astype(
    np.uint8
)
SMALL = {"hospitals": 3, "rounds": 2, "baselines": False}


def data() -> object:
    return flop.arrays(X, Y, classes=("normal", "ill"))


def network() -> nn.Module:
    torch.manual_seed(1)
    return nn.Sequential(
        nn.Flatten(), nn.Linear(784, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Linear(16, 2)
    )


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    out = tmp_path_factory.mktemp("front") / "named"
    return flop.Federation(data(), "cnn3", record=True, protection="plain", out=out, **SMALL).run()


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> tuple[Run, nn.Module, list[object]]:
    """A run of an own module, made in another thread than the main one."""
    made: list[Run] = []
    told: list[object] = []
    module = network()
    federation = flop.Federation(
        data(), module, out=tmp_path_factory.mktemp("front") / "own", record=True, **SMALL
    )
    thread = threading.Thread(target=lambda: made.append(federation.run(on_round=told.append)))
    thread.start()
    thread.join()
    return made[0], module, told


def test_a_run_has_its_figures_its_shared_layers_and_its_hospitals(run: Run) -> None:
    assert run.accuracy is not None and run.accuracy > 0.9
    assert run.summary["rounds_completed"] == 2 and len(run.rounds) == 2
    assert "body.0.weight" in run.shared and "head.weight" not in run.shared
    assert [one.id for one in run.hospitals] == ["hospital-1", "hospital-2", "hospital-3"]
    heads = [one.private["head.weight"] for one in run.hospitals]
    assert heads[0].shape[0] == 2 and not np.array_equal(heads[0], heads[1])
    assert run.accuracy == pytest.approx(np.mean([one.accuracy for one in run.hospitals]))
    assert len(run.hospitals[0].rounds) == 2


def test_what_the_coordinator_saw_follows_from_the_protection(
    run: Run, own: tuple[Run, nn.Module, list[object]]
) -> None:
    assert [one.observation.summed for one in run.seen(round=1)] == [1, 1, 1]
    (seen,) = own[0].seen(round=2)
    assert seen.observation.summed == 3 and "1.weight" in seen.observation.shared_before


def test_a_run_is_the_same_when_it_is_loaded(run: Run) -> None:
    again = flop.load_run(run.folder)
    assert again.accuracy == run.accuracy and repr(again) == repr(run)
    assert "hospital-3" in again._repr_html_() and "3 hospitals" in repr(again)


def test_an_own_module_keeps_its_last_layer_and_is_not_touched(
    own: tuple[Run, nn.Module, list[object]],
) -> None:
    made, module, told = own
    assert sorted(made.hospitals[0].private) == ["4.bias", "4.weight"]
    assert {"1.weight", "2.running_mean"} <= set(made.shared)
    start = network().state_dict()
    assert all(torch.equal(value, start[name]) for name, value in module.state_dict().items())
    assert not np.array_equal(made.shared["1.weight"], start["1.weight"].numpy())
    assert [one.round for one in told] == [1, 2] and told[1].rounds == 2


def test_nothing_global_is_left_behind(own: tuple[Run, nn.Module, list[object]]) -> None:
    with pytest.raises(ValueError, match="pass the same module"):
        models.spec(models.OWN)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    loaded = flop.load_run(own[0].folder)
    with pytest.raises(ConfigError, match="pass the same module"):
        loaded.seen()


def test_a_private_pattern_and_a_size_can_be_chosen(tmp_path: Path) -> None:
    federation = flop.Federation(
        data(), network(), private="1.*", image_size=32, out=tmp_path / "a", **SMALL
    )
    with pytest.raises(ConfigError, match=r"cannot take images of shape \(B, 1, 32, 32\)"):
        federation.run()
    assert federation.options.agreed.model.private == ("1.*",)
    assert not (tmp_path / "a").exists()


def test_without_a_recording_there_is_nothing_to_see(tmp_path: Path) -> None:
    made = flop.Federation(data(), out=tmp_path / "a", **{**SMALL, "rounds": 1}).run()
    with pytest.raises(ConfigError, match="holds no recording"):
        made.seen()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"model": nn.Linear(784, 2)}, "cannot take images of shape"),
        ({"model": nn.Sequential(nn.Flatten(), nn.Linear(784, 3))}, r"must give logits .*\(2, 2\)"),
        ({"model": nn.Sequential(nn.Flatten(), nn.Linear(784, 2)).double()}, "not float32"),
        ({"model": nn.Sequential(nn.Flatten(), nn.Linear(784, 2))}, "choose 1 to 0"),
        ({"model": network(), "private": "nothing.*"}, "matches no layer"),
        ({"model": network(), "transport": "zmq"}, "do not have your module"),
        ({"transport": "zmq"}, "do not have your arrays"),
        ({"model": "cnn4"}, "no model is called 'cnn4'"),
        ({"model": network(), "pretrained": True}, "brings its own weights"),
        ({"colour": "red"}, "colour"),
        ({"hospitals": 0}, "hospitals"),
    ],
)
def test_what_cannot_be_federated_is_refused_in_a_sentence(
    tmp_path: Path, options: dict[str, object], words: str
) -> None:
    with pytest.raises(ConfigError, match=words):
        flop.Federation(data(), **{**SMALL, "out": tmp_path / "a", **options}).run()


def test_a_folder_without_a_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"no summary\.json"):
        flop.load_run(tmp_path)
