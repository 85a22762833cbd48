"""Real processes on loopback: killed, stopped, restarted, and strangers at the door."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import flop
from coordinator.store import read_status
from federation import model
from federation.transport.link import CurveKeys
from simulation.run.options import Options
from simulation.run.prepare import prepare
from simulation.run.processes import Processes, write_files

ROOT = Path(__file__).resolve().parents[2]
SMALL = {
    "data": "phantom-cxr:240",
    "image_size": 28,
    "baselines": False,
    "set": ("federation.patience=10.0",),
}


def until(condition: Callable[[], object], seconds: float = 240.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise AssertionError("it did not come to that in time")
        time.sleep(0.05)


def lives(marker: str) -> list[str]:
    """Command lines of processes that name `marker`."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            line = path.read_bytes().replace(b"\0", b" ").decode()
        except OSError:
            continue
        if marker in line and str(os.getpid()) != path.parent.name:
            found.append(line)
    return found


@pytest.fixture
def federation(tmp_path: Path) -> Iterator[Callable[..., Processes]]:
    started: list[Processes] = []

    def start(**options: object) -> Processes:
        prepared = prepare(Options.of(out=tmp_path / "run", **{**SMALL, **options}))
        write_files(prepared)
        started.append(Processes(prepared))
        started[-1].start()
        return started[-1]

    yield start
    for processes in started:
        processes.stop()


def round_of(processes: Processes) -> int:
    shot = read_status(processes.prepared.options.out)
    return shot.round if shot else 0


def finish(processes: Processes) -> dict:
    until(lambda: processes.running["coordinator"].poll() is not None, 300)
    return json.loads((processes.prepared.options.out / "summary.json").read_text())


def digests(processes: Processes, names: list[str]) -> set[str]:
    return {
        model.read(
            processes.prepared.options.out / "hospitals" / name / "shared.safetensors"
        ).digest.hex()
        for name in names
    }


def test_a_killed_hospital_does_not_stop_the_run_and_catches_up_when_it_is_back(
    federation: Callable[..., Processes],
) -> None:
    processes = federation(rounds=2000, hospitals=4)
    victim = processes.prepared.ids[1]
    until(lambda: round_of(processes) >= 2)
    processes.running[victim].kill()
    processes.running[victim].wait()
    killed_at = round_of(processes)
    until(lambda: round_of(processes) >= killed_at + 2)
    processes.start_party(victim)
    metrics = processes.prepared.options.out / "hospitals" / victim / "metrics.jsonl"

    def counted_again() -> bool:
        """Its update was counted: it signed the same context, so it stands at the same model as the
        others.
        """
        lines = [json.loads(line) for line in metrics.read_text().splitlines()]
        return any(line["round"] > killed_at + 2 and line["counted"] for line in lines)

    until(counted_again)


def test_a_killed_coordinator_goes_on_where_it_was(federation: Callable[..., Processes]) -> None:
    processes = federation(rounds=12, hospitals=3)
    until(lambda: round_of(processes) >= 3)
    coordinator = processes.running["coordinator"]
    coordinator.kill()
    coordinator.wait()
    before = json.loads((processes.prepared.options.out / "progress.json").read_text())
    processes.start_party("coordinator")
    summary = finish(processes)
    after = json.loads((processes.prepared.options.out / "progress.json").read_text())
    assert after["run"] == before["run"] and after["last_begun"] == 12
    assert summary["rounds_completed"] >= 10
    for name in processes.prepared.ids:
        assert processes.running[name].wait(60) == 0
    assert len(digests(processes, processes.prepared.ids)) == 1


def test_ctrl_c_leaves_a_valid_run_directory_and_no_process(tmp_path: Path) -> None:
    """Started in a folder of the user's own, with a relative path."""
    out = tmp_path / "run"
    command = [
        sys.executable,
        "-m",
        "flop",
        "sim",
        "--out",
        "run",
        "--data",
        "phantom-cxr:240",
        "--image-size",
        "28",
    ]
    command += ["--rounds", "500", "--hospitals", "3"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen(
        command, cwd=tmp_path, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    try:
        until(lambda: (shot := read_status(out)) is not None and shot.round >= 2)
        process.send_signal(signal.SIGINT)
        printed = process.communicate(timeout=60)[0].decode()
    finally:
        process.kill()
    assert process.returncode == 0 and "stopped" in printed and "Traceback" not in printed
    summary = json.loads((out / "summary.json").read_text())
    assert summary["finished"] is False and 1 <= summary["rounds_completed"] < 500
    assert model.read(out / "shared.safetensors").round >= 1
    assert lives(str(out)) == []


def test_a_stranger_gets_nothing_and_is_told_within_ten_seconds(
    federation: Callable[..., Processes], tmp_path: Path
) -> None:
    processes = federation(rounds=500, hospitals=3)
    until(lambda: round_of(processes) >= 1)
    folder, name = processes.prepared.folder, processes.prepared.ids[0]
    strange = CurveKeys.generate()
    secret = folder / "stranger.secret"
    text = (folder / f"{name}.secret").read_text()
    for key, value in (("transport", strange.secret), ("transport_public", strange.public)):
        text = "\n".join(
            f'{key} = "{value.hex()}"' if line.startswith(f"{key} =") else line
            for line in text.splitlines()
        )
    secret.write_text(text)
    secret.chmod(0o600)
    # the stranger edits its own roster so that its own checks pass; only the coordinator's door is
    # left
    mine = json.dumps(strange.public.hex())
    old = next(
        line
        for line in (folder / f"{name}.pub").read_text().splitlines()
        if line.startswith("transport")
    )
    place = tmp_path / "stranger"
    place.mkdir()
    for file in ("federation.toml", "start.safetensors"):
        (place / file).write_bytes((folder / file).read_bytes())
    (place / "roster.toml").write_text(
        (folder / "roster.toml").read_text().replace(old, f"transport = {mine}")
    )
    (place / "hospital.toml").write_text(
        (folder / f"{name}.toml").read_text().replace(f"{name}.secret", str(secret))
    )
    command = [sys.executable, "-m", "flop"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}
    shown = subprocess.run(
        [*command, "roster", "show", "roster.toml"],
        cwd=place,
        env=environment,
        capture_output=True,
        text=True,
    ).stdout
    fingerprint = shown.strip().rpartition(": ")[2]
    subprocess.run(
        [*command, "roster", "accept", "roster.toml", "--fingerprint", fingerprint],
        cwd=place,
        env=environment,
        check=True,
    )
    node = subprocess.Popen(
        [*command, "node"],
        cwd=place,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        assert node.stdout is not None
        while "connecting" not in (line := node.stdout.readline()):
            assert line, "the stranger's process ended before it connected"
        began = time.monotonic()
        answer = node.stdout.readline()
        assert time.monotonic() - began < 10
        assert "key" in answer and "roster" in answer
    finally:
        node.kill()
        node.communicate()
    assert round_of(processes) >= 1 and processes.running["coordinator"].poll() is None


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["sim", "--data", "/nowhere/at/all"], "/nowhere/at/all"),
        (["sim", "--set", "training.nonsense=1"], "nonsense"),
        (["sim", "--model", "nosuch"], "nosuch"),
        (["sim", "--algorithm", "local", "--protection", "ckks"], "makes no sense"),
        (["sim", "--bits", "0"], "protection.bits"),
        (["sim", "--cohort", "9"], "--cohort"),
        (["sim", "--partition", "skew:x"], "skew"),
        (["node", "--config", "/nowhere/hospital.toml"], "/nowhere/hospital.toml"),
        (["coordinator", "--config", "/nowhere/federation.toml"], "/nowhere/federation.toml"),
        (["keygen", "--id", "No Spaces"], "--id"),
        (["nonsense"], "nonsense"),
    ],
)
def test_a_users_mistake_is_one_sentence_and_exit_code_2(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    sentence: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(
        sys,
        "argv",
        ["flop", *arguments, *(["--out", str(tmp_path / "run")] if arguments[0] == "sim" else [])],
    )
    with pytest.raises(SystemExit) as ended:
        flop.main()
    said = capsys.readouterr().err
    assert ended.value.code == 2
    assert sentence in said and "Traceback" not in said and len(said.strip().splitlines()) == 1
    assert not (tmp_path / "run").exists()


def test_a_hospital_that_misses_the_end_does_not_keep_a_simulation_waiting(
    federation: Callable[..., Processes],
) -> None:
    processes = federation(rounds=3, hospitals=4)
    absent = processes.prepared.ids[3]
    until(lambda: round_of(processes) >= 1)
    processes.running[absent].send_signal(signal.SIGSTOP)
    try:
        until(lambda: processes.running["coordinator"].poll() is not None, 300)
    finally:
        processes.running[absent].send_signal(signal.SIGCONT)
    processes.wait(lambda shot: None, lambda: False)
    assert all(process.poll() == 0 for process in processes.running.values())
