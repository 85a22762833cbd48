"""`flop node` trains in two processes as it does in one."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import flop
from federation.errors import ConfigError

ONE = {
    "data": "phantom-cxr:40",
    "image_size": 28,
    "model": "cnn3",
    "hospitals": 1,
    "rounds": 1,
    "protection": "plain",
    "bits": 0,
    "optimizer": "sgd",
    "lr": 0.01,
    "baselines": False,
}


@pytest.mark.slow
def test_two_processes_of_a_node_train_as_one_does(tmp_path: Path) -> None:
    node = flop.Federation(**ONE, transport="zmq", device="cpu:2", out=tmp_path / "two").run()
    one = flop.Federation(**ONE, device="cpu", out=tmp_path / "one").run()
    facts = json.loads((node.folder / "hospitals" / "hospital-1" / "summary.json").read_text())
    assert facts["device"] == "cpu, cpu" and node.summary["rounds_completed"] == 1
    for name, array in one.shared.items():
        assert np.allclose(array, node.shared[name], atol=1e-5)
    assert not np.array_equal(one.shared["body.0.weight"], node.shared["body.0.weight"]), (
        "sums in another order differ in the last bits: two processes were at work"
    )


def test_a_batch_that_cannot_be_divided_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="a batch of 3 is too small for 2 devices; take 4"):
        flop.Federation(**ONE, batch_size=3, device="cpu:2", out=tmp_path / "run").run()
