"""The Python that README and notebook show runs as it is printed."""

from __future__ import annotations

import re
from pathlib import Path

import matplotlib.pyplot as plt
import nbformat
import pytest
from nbclient import NotebookClient

import flop

ROOT = Path(__file__).parents[2]
NOTEBOOK = ROOT / "docs" / "python.ipynb"


def test_the_python_of_the_readme(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (code,) = re.findall(
        r"^```python\n(.*?)^```$", (ROOT / "README.md").read_text(), flags=re.M | re.S
    )
    monkeypatch.chdir(tmp_path)
    backend = plt.get_backend()
    names: dict[str, object] = {}
    exec(compile(code, "README.md", "exec"), names)
    (folder,) = (tmp_path / "runs").iterdir()
    assert flop.load_run(folder).summary["rounds_completed"] == 2
    assert (tmp_path / "leak.png").stat().st_size > 1000
    assert len(code.splitlines()) <= 12 and plt.get_backend() == backend


def test_the_notebook_runs_and_is_committed_without_output(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    book = nbformat.read(NOTEBOOK, as_version=4)
    code = [cell for cell in book.cells if cell.cell_type == "code"]
    assert not any(cell.outputs or cell.execution_count for cell in code)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("JUPYTER_RUNTIME_DIR", str(tmp_path))
    NotebookClient(book, timeout=240, resources={"metadata": {"path": str(tmp_path)}}).execute()
    shown = [
        "".join(o.get("text") or o.get("data", {}).get("text/plain", "") for o in cell.outputs)
        for cell in code
    ]
    assert "Round(round=3, rounds=3" in shown[1]
    assert "'3.bias', '3.weight'" in shown[3]
    assert "varpro" in shown[4] and "(True, (" in shown[-1]
