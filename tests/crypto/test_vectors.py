"""The committed known-answer vectors are what the code gives.

A changed answer breaks every federation under way: `kdf` then needs another product version.
"""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = ROOT / "scripts" / "make_vectors.py"


def test_the_committed_vectors_are_what_the_code_gives() -> None:
    done = subprocess.run(
        [sys.executable, str(SCRIPT), "--check"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_the_check_notices_a_changed_file(tmp_path: Path) -> None:
    source = SCRIPT.read_text().replace(
        'FOLDER = ROOT / "tests" / "vectors"', f"FOLDER = Path({str(tmp_path)!r})"
    )
    copy = ROOT / "scripts" / "make_vectors.py"
    assert f"Path({str(tmp_path)!r})" in source
    program = (
        f"import sys; sys.argv = ['x', '--check']; __file__ = {str(copy)!r};"
        f" exec(compile({source!r}, __file__, 'exec'))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert "kdf.json" in done.stderr
