"""`python -m simulation.run.node HOSPITAL.toml`: one simulated hospital as a process of its own.

It is the product's node. Only what a simulation divides is added: HOSPITAL.share, beside the
hospital.toml, says which rows of the data set this hospital has.
"""

from __future__ import annotations

import sys
from pathlib import Path

import msgspec

from federation.errors import ConfigError
from hospital_node.service import serve
from hospital_node.settings import Hospital, Share


def write_share(path: Path, share: Share) -> None:
    """Write the share of the hospital whose hospital.toml is `path`."""
    path.with_suffix(".share").write_bytes(msgspec.json.encode(share))


def read_hospital(path: Path) -> Hospital:
    """The hospital whose hospital.toml is `path`, with its share. Raises ConfigError."""
    content = path.with_suffix(".share").read_bytes()
    return Hospital(path, msgspec.json.decode(content, type=Share))


def _say(text: str) -> None:
    print(text, flush=True)


if __name__ == "__main__":
    try:
        sys.exit(serve(read_hospital(Path(sys.argv[1])), _say))
    except ConfigError as error:
        print(f"flop: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
