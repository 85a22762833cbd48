"""`flop node` on several devices: two CPU processes train one hospital's model."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from tests.end_to_end.zmq_federation import ZmqFederation

ROOT = Path(__file__).resolve().parents[2]


def test_a_hospital_trains_on_two_processes_of_the_cpu(tmp_path: Path) -> None:
    federation = ZmqFederation(tmp_path, protection="plain")
    name = federation.prepared.ids[0]
    federation.nodes.pop(name).link.close(0.0)
    path = federation.prepared.folder / f"{name}.toml"
    text = path.read_text()
    assert 'device = "auto"' in text
    path.write_text(text.replace('device = "auto"', 'device = "cpu:2"'))
    node = subprocess.Popen(
        [sys.executable, "-m", "flop", "node", "--config", str(path)],
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    try:
        federation.play()
    finally:
        said = node.communicate(timeout=60)[0].decode()
    assert node.returncode == 0, said
    folder = tmp_path / "hospitals" / name
    summary = json.loads((folder / "summary.json").read_text())
    (line,) = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    assert summary["device"] == "cpu, cpu" and summary["finished"] is True
    assert line["counted"] is True and line["steps"] > 0
