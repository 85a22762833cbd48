"""One process at a time works in a hospital's folder, and a killed one leaves no lock behind."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from msgspec.structs import replace

from federation.errors import ConfigError
from hospital_node.storage import Storage, in_use
from tests.federation.test_records import HOSPITAL

HOLD = "import sys; from hospital_node.storage import Storage; from pathlib import Path\n"
HOLD += "with Storage(Path(sys.argv[1])).locked(): print('here', flush=True); sys.stdin.read()"


def test_a_second_node_in_one_folder_is_refused_until_the_first_is_gone(tmp_path: Path) -> None:
    storage = Storage(tmp_path)
    assert not in_use(tmp_path) and not list(tmp_path.iterdir())
    root = Path(__file__).resolve().parents[2]
    first = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=root,
    )
    assert first.stdout is not None and first.stdout.readline() == b"here\n"
    try:
        assert in_use(tmp_path)
        with pytest.raises(ConfigError, match="another `flop node` works here"), storage.locked():
            pass
    finally:
        first.kill()
        first.communicate()
    with storage.locked():
        assert in_use(tmp_path)
    assert not in_use(tmp_path)


def test_only_the_summary_of_this_run_says_that_it_is_over(tmp_path: Path) -> None:
    storage, run = Storage(tmp_path), bytes(range(32))
    assert not storage.finished(run)
    storage.write_summary(replace(HOSPITAL, run=run.hex(), finished=True))
    assert storage.finished(run) and not storage.finished(bytes(32)) and not storage.finished(b"")
    storage.write_summary(replace(HOSPITAL, run=run.hex(), finished=False))
    assert not storage.finished(run)
