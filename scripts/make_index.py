"""Writes docs/decisions/README.md: the index of the decisions, from their first lines.

python scripts/make_index.py            writes the index
python scripts/make_index.py --check    exit 1 if it is not current
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

FOLDER = Path(__file__).resolve().parent.parent / "docs" / "decisions"
HEAD = """# Decisions

One page each: context, decision, consequence. A new one takes the next number and begins with
`# NNNN Title`. One that is overturned stays, and names the one that replaced it.
`scripts/make_index.py` writes this table.

| number | decision |
|---|---|
"""


def index(folder: Path) -> str:
    """Return the index of the pages in `folder`."""
    rows = []
    for page in sorted(folder.glob("[0-9]*.md")):
        first = page.read_text().splitlines()[0]
        title = re.sub(r"^#\s*\d+[.:]?\s*", "", first).strip()
        rows.append(f"| {page.name[:4]} | [{title[:1].upper()}{title[1:]}]({page.name}) |\n")
    return HEAD + "".join(rows)


def main() -> int:
    path = FOLDER / "README.md"
    if "--check" not in sys.argv[1:]:
        path.write_text(index(FOLDER))
    elif path.read_text() != index(FOLDER):
        print("docs/decisions/README.md is not current: run scripts/make_index.py", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
