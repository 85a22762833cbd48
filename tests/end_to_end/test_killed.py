"""Under masked+ckks, over ZeroMQ: a hospital's process is killed in each phase and started again;
the others finish the round.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from federation import model
from tests.end_to_end.zmq_federation import ZmqFederation

ROOT = Path(__file__).resolve().parents[2]
PATIENCE_S = 180  # only a failing test waits for so long


class Victim:
    """A process of its own that is killed where it would send `last`, and then started again, as
    its operator would.
    """

    def __init__(self, settings: Path, last: str) -> None:
        self.processes = [self._spawn("tests.end_to_end.dying_node", str(settings), last)]
        self._again = ("simulation.run.node", str(settings))
        assert b"connecting" in self.processes[0].stdout.readline()  # type: ignore[union-attr]
        threading.Thread(target=self._restart, daemon=True).start()

    def _spawn(self, *module: str) -> subprocess.Popen[bytes]:
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        return subprocess.Popen(
            [sys.executable, "-u", "-m", *module], env=environment, cwd=ROOT, stdout=subprocess.PIPE
        )

    def _restart(self) -> None:
        self.processes[0].wait()
        self.processes.append(self._spawn(*self._again))

    def end(self) -> list[int]:
        """How its two processes ended."""
        try:
            return [process.wait(PATIENCE_S) for process in self.processes]
        finally:
            for process in self.processes:
                process.kill()
                process.communicate()


@pytest.mark.parametrize(
    ("last", "phase", "survivors"),
    [
        ("AdvertiseKeys", "advertise_keys", 3),
        ("ShareKeys", "share_keys", 3),
        ("Update", "masked_update", 3),
        ("Consistency", "consistency", 4),
        ("UnmaskShares", "unmask", 4),
    ],
)
def test_a_hospital_killed_in_any_phase_leaves_the_round_alive(
    tmp_path: Path, last: str, phase: str, survivors: int
) -> None:
    federation = ZmqFederation(
        tmp_path,
        protection="masked+ckks",
        hospitals=4,
        data="phantom-cxr:160",
        threshold=3,
        rounds=2,
    )
    name = federation.prepared.ids[1]
    federation.nodes.pop(name).link.close(0.0)
    victim = Victim(federation.prepared.folder / f"{name}.toml", last)
    try:
        federation.play()
    finally:
        ended = victim.end()
    assert ended == [-signal.SIGKILL, 0]
    events = [json.loads(line) for line in (tmp_path / "events.jsonl").read_text().splitlines()]
    assert [
        (event["hospital"], event["phase"]) for event in events if event["event"] == "lost"
    ] == [(name, phase)]
    sessions = [node.keeper.session for node in federation.nodes.values()]
    assert [
        [len(session.rounds.sums.survivors[round_]) for round_ in (1, 2)] for session in sessions
    ] == [[survivors, 4]] * 3
    models = {session.shared.digest for session in sessions}
    assert (
        models == {model.read(tmp_path / "hospitals" / name / "shared.safetensors").digest}
        and sessions[0].shared.round == 2
    )
