"""Compares the coverage of the unit tests, room by room, with the floors in tests/coverage.toml.

    python scripts/check_coverage.py REPORT.json     the report that `coverage json` writes

Exit code 1 if a room is below its floor. A floor only ever rises: raise it when tests are added.
"""

from __future__ import annotations

import json
import sys
import tomllib
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
COUNTS = ("num_statements", "covered_lines", "num_branches", "covered_branches")


def by_room(report: dict[str, dict[str, dict[str, dict[str, int]]]]) -> dict[str, float]:
    """Percentage of statements and branches that ran, for each top-level folder in the report."""
    sums: dict[str, Counter[str]] = {}
    for path, found in report["files"].items():
        room = sums.setdefault(Path(path).parts[0], Counter())
        room.update({name: found["summary"][name] for name in COUNTS})
    return {
        room: 100
        * (count["covered_lines"] + count["covered_branches"])
        / max(1, count["num_statements"] + count["num_branches"])
        for room, count in sums.items()
    }


def below(reached: dict[str, float], floors: dict[str, float]) -> list[str]:
    """One sentence for each room that is below its floor, or has none."""
    problems = [
        f"{room}: {reached.get(room, 0.0):.1f} % of it is covered by unit tests, not {floor} %"
        for room, floor in floors.items()
        if reached.get(room, 0.0) < floor
    ]
    return problems + [
        f"{room}: write a floor for it into tests/coverage.toml" for room in reached.keys() - floors
    ]


def main() -> int:
    if len(sys.argv) != 2:
        print(__doc__, file=sys.stderr)
        return 2
    reached = by_room(json.loads(Path(sys.argv[1]).read_text()))
    floors = tomllib.loads((ROOT / "tests" / "coverage.toml").read_text())["floors"]
    for room, percent in sorted(reached.items()):
        print(f"{room:15} {percent:5.1f} %  floor {floors.get(room, '-')}")
    problems = below(reached, floors)
    for problem in problems:
        print(problem, file=sys.stderr)
    return 1 if problems else 0


if __name__ == "__main__":
    raise SystemExit(main())
