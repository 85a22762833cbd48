"""One recorded run for all tests that read one."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from simulation.run.command import sim_app

TINY = (
    "--data phantom-cxr:6 --model lenet-dlg --image-size 28 --hospitals 3 --rounds 1 --batch-size 1"
    " --optimizer sgd --lr 0.1"
)


@pytest.fixture(scope="package")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run directory of three hospitals with two images each, recorded without a protection."""
    out = tmp_path_factory.mktemp("run")
    words = (
        f"{TINY} --record --protection plain --transport memory --device cpu --no-baselines --out"
        f" {out}".split()
    )
    done = CliRunner().invoke(sim_app, words, catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return out
