"""`simulate()` as a function: it runs in any thread and leaves no trace in the process."""

from __future__ import annotations

import signal
import threading
from pathlib import Path
from typing import Any

import pytest

from federation.errors import ConfigError, FederationError
from simulation.run import simulate as module
from simulation.run.options import Options
from simulation.run.simulate import Stop, simulate

SMALL = {
    "data": "phantom-cxr:60",
    "image_size": 28,
    "hospitals": 3,
    "rounds": 1,
    "transport": "memory",
    "baselines": False,
}
HANDLED = (signal.SIGINT, signal.SIGTERM)


def handlers() -> list[Any]:
    return [signal.getsignal(name) for name in HANDLED]


def test_the_signal_handlers_are_afterwards_what_they_were(tmp_path: Path) -> None:
    before = handlers()
    during: list[Any] = []
    simulate(
        Options.of(**SMALL, out=tmp_path / "run"), watch=lambda shot: during.append(handlers())
    )
    assert handlers() == before
    assert during and all(seen != before for seen in during)


def test_the_signal_handlers_are_put_back_after_a_failure(tmp_path: Path) -> None:
    before = handlers()
    with pytest.raises(ConfigError):
        simulate(Options.of(**SMALL | {"model": "nosuch"}, out=tmp_path / "run"))
    assert handlers() == before


def test_a_federation_runs_in_a_thread_and_touches_no_signal(tmp_path: Path) -> None:
    before, summaries = handlers(), []
    options = Options.of(**SMALL, out=tmp_path / "run")
    thread = threading.Thread(target=lambda: summaries.append(simulate(options)))
    thread.start()
    thread.join()
    assert len(summaries) == 1 and (tmp_path / "run" / "summary.json").exists()
    assert handlers() == before


def test_ctrl_c_is_a_wish_that_the_run_reads() -> None:
    with Stop() as stop:
        assert not stop()
        signal.raise_signal(signal.SIGINT)
        assert stop()


@pytest.mark.parametrize(
    "wrong",
    [
        {"data": "/nowhere/at/all"},
        {"model": "nosuch"},
        {"partition": "skew:x"},
        {"private": ("nosuch.*",)},
        {"bits": 16, "ring": 16},
    ],
)
def test_a_start_that_fails_leaves_nothing_behind(tmp_path: Path, wrong: dict[str, Any]) -> None:
    with pytest.raises(Exception) as failed:
        simulate(Options.of(**SMALL | wrong, out=tmp_path / "run"))
    assert getattr(failed.value, "exit_code", None) == 2
    assert list(tmp_path.iterdir()) == []


def failing(*_: object) -> Any:
    raise FederationError("broken")


def test_a_run_that_fails_before_its_first_round_leaves_only_logs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def play(prepared: Any, *_: object) -> Any:
        logs = prepared.options.out / "logs"
        logs.mkdir()
        (logs / "coordinator.log").write_text("broken\n")
        raise FederationError("broken")

    monkeypatch.setattr(module, "_memory", play)
    with pytest.raises(FederationError):
        simulate(Options.of(**SMALL, out=tmp_path / "run"))
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["logs"]
    monkeypatch.setattr(module, "_memory", failing)
    with pytest.raises(FederationError):
        simulate(Options.of(**SMALL, out=tmp_path / "other"))
    assert not (tmp_path / "other").exists()


def test_a_run_that_fails_in_a_folder_of_before_leaves_the_folder_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = Options.of(**SMALL, out=tmp_path / "run")
    simulate(options)
    before = sorted(path for path in (tmp_path / "run").rglob("*"))
    monkeypatch.setattr(module, "_memory", failing)
    with pytest.raises(FederationError):
        simulate(options)
    with pytest.raises(ConfigError, match="other options"):
        simulate(options.but(rounds=2))
    assert sorted(path for path in (tmp_path / "run").rglob("*")) == before
