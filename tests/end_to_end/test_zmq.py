"""One federation over real ZeroMQ for each protection; the same seed gives the same bytes in
memory.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from rich.console import Console

from simulation.run.options import Options
from simulation.run.simulate import simulate
from tests.end_to_end.zmq_federation import SMALL, ZmqFederation


@pytest.mark.parametrize("protection", ["plain", "masked", "ckks", "masked+ckks"])
def test_a_federation_over_zeromq_gives_the_bytes_of_the_one_in_memory(
    tmp_path: Path, protection: str
) -> None:
    over_zmq = ZmqFederation(tmp_path / "zmq", protection=protection, rounds=2).play()
    simulate(
        Options.of(
            **{
                **SMALL,
                "out": tmp_path / "memory",
                "protection": protection,
                "rounds": 2,
                "transport": "memory",
            }
        ),
        Console(quiet=True),
    )
    first = over_zmq.prepared.ids[0]
    real = (tmp_path / "zmq" / "hospitals" / first / "shared.safetensors").read_bytes()
    assert real == (tmp_path / "memory" / "shared.safetensors").read_bytes()
    private = (tmp_path / "zmq" / "hospitals" / first / "private.safetensors").read_bytes()
    assert (
        private == (tmp_path / "memory" / "hospitals" / first / "private.safetensors").read_bytes()
    )
    summary = json.loads((tmp_path / "zmq" / "hospitals" / first / "summary.json").read_text())
    assert summary["finished"] and summary["round"] == 2


def test_the_coordinator_keeps_the_model_only_where_it_may_know_it(tmp_path: Path) -> None:
    ZmqFederation(tmp_path / "masked", protection="masked").play()
    ZmqFederation(tmp_path / "ckks", protection="ckks").play()
    assert (tmp_path / "masked" / "shared.safetensors").exists()
    assert not (tmp_path / "ckks" / "shared.safetensors").exists()
