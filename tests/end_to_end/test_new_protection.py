"""A new protection is one file and one line. A copy of `plain`, added that way to a copy of the
package, plays a round, is reported truthfully and is attacked as what it is.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FILE = """
from dataclasses import replace

from federation.protections import plain

PROTECTION = replace(plain.PROTECTION, name="clear")
"""
LINE = '    "clear": "federation.protections.clear",\n'
PROGRAM = """
import sys, typer
from attacks.command import attack_app
from federation import config, protections
from simulation.run.command import sim_app

assert protections.__file__.startswith(sys.argv[1]), protections.__file__
folder = sys.argv[2]
sim_app([*"--transport memory --data phantom-cxr:60 --image-size 28 --hospitals 3"
         " --rounds 1 --no-baselines --record --protection clear --bits 0 --out".split(), folder],
        standalone_mode=False)
attack_app(["run", "--run", folder, "--steps", "1", "--restarts", "1", "--json"],
           standalone_mode=False)
"""


@pytest.mark.slow
def test_one_file_and_one_line_add_a_protection(tmp_path: Path) -> None:
    package, run = tmp_path / "federation", tmp_path / "run"
    shutil.copytree(ROOT / "federation", package)
    registry = package / "protections" / "__init__.py"
    first, last = registry.read_text().split("REGISTRY = {\n")
    registry.write_text(first + "REGISTRY = {\n" + LINE + last)
    (package / "protections" / "clear.py").write_text(FILE)

    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(tmp_path), str(run)],
        env={**os.environ, "PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}"},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert 'kind = "clear"' in (run / "config.toml").read_text()

    # The report tells the truth: each hospital's counts are seen beside its update.
    report = " ".join((run / "report.html").read_text().split())
    assert "could read every hospital's update" in report.replace("&#39;", "'")
    row = report.partition("numbers of images, test results as counts")[2][:200]
    assert "sees<" in row and "beside the update" in row

    # The attack looks at every single update, and not at their sum.
    attacked = json.loads(done.stdout[done.stdout.index("{") :])
    assert len(attacked["objective"]) == 3
