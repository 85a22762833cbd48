"""The house rules that can be counted: sizes of files, READMEs, typed packages, coverage floors."""

from __future__ import annotations

import json
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from scripts import check_coverage, make_index
from tests.test_imports import ROOMS, ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())


def lines(path: Path) -> int:
    return len(path.read_text().splitlines())


def longer_than(limit: int, *folders: str) -> dict[str, int]:
    """The files below these folders that have more lines than `limit`."""
    found = (path for folder in folders for path in (ROOT / folder).rglob("*.py"))
    return {str(path.relative_to(ROOT)): lines(path) for path in found if lines(path) > limit}


def test_no_module_is_longer_than_350_lines() -> None:
    assert longer_than(350, *ROOMS, "scripts") == {}


def test_no_test_file_is_longer_than_450_lines() -> None:
    assert longer_than(450, "tests") == {}


def test_there_is_more_than_one_line_of_test_for_two_of_source() -> None:
    source = sum(lines(path) for room in ROOMS for path in (ROOT / room).rglob("*.py"))
    tests = sum(lines(path) for path in (ROOT / "tests").rglob("*.py"))
    assert tests >= 0.65 * source


@pytest.mark.parametrize("folder", [*ROOMS, "scripts", "tests", "docs"])
def test_every_folder_has_a_short_readme(folder: str) -> None:
    assert lines(ROOT / folder / "README.md") <= 20


def test_every_room_is_typed_and_has_a_coverage_floor() -> None:
    floors = tomllib.loads((ROOT / "tests" / "coverage.toml").read_text())["floors"]
    assert set(floors) == set(ROOMS) == set(PROJECT["tool"]["coverage"]["run"]["source"])
    assert all((ROOT / room / "py.typed").is_file() for room in ROOMS)


def test_warnings_are_errors() -> None:
    assert PROJECT["tool"]["pytest"]["ini_options"]["filterwarnings"][0] == "error"


def summary(statements: int, covered: int, branches: int = 0, taken: int = 0) -> dict[str, object]:
    counts = (statements, covered, branches, taken)
    return {"summary": dict(zip(check_coverage.COUNTS, counts, strict=True))}


def test_the_coverage_of_a_room_is_that_of_all_its_files() -> None:
    report = {
        "files": {
            "crypto/kdf.py": summary(60, 60, 20, 10),
            "crypto/tag.py": summary(20, 0),
            "learning/split.py": summary(10, 5),
        }
    }
    assert check_coverage.by_room(report) == {"crypto": 70.0, "learning": 50.0}  # type: ignore[arg-type]


def test_a_room_below_its_floor_and_a_room_without_one_fail() -> None:
    reached = {"crypto": 89.9, "learning": 80.0, "new": 100.0}
    low, missing = check_coverage.below(reached, {"crypto": 90, "learning": 80})
    assert low.startswith("crypto: 89.9 %") and missing.startswith("new: ")
    assert check_coverage.below({}, {"crypto": 90}) == [
        "crypto: 0.0 % of it is covered by unit tests, not 90 %"
    ]


def test_the_coverage_script_fails_with_the_report_of_an_empty_run(tmp_path: Path) -> None:
    report = tmp_path / "report.json"
    report.write_text(json.dumps({"files": {"crypto/kdf.py": summary(10, 0)}}))
    script = ROOT / "scripts" / "check_coverage.py"
    done = subprocess.run([sys.executable, script, report], capture_output=True, text=True)
    assert done.returncode == 1 and "crypto: 0.0 %" in done.stderr


def test_the_index_of_decisions_is_current() -> None:
    assert make_index.index(make_index.FOLDER) == (make_index.FOLDER / "README.md").read_text()


def test_the_index_has_a_line_for_each_page_in_order(tmp_path: Path) -> None:
    (tmp_path / "0002-two.md").write_text("# 0002: second thoughts\n")
    (tmp_path / "0001-one.md").write_text("# 0001 One bus\n")
    *_, first, second = make_index.index(tmp_path).splitlines()
    assert first == "| 0001 | [One bus](0001-one.md) |"
    assert second == "| 0002 | [Second thoughts](0002-two.md) |"
