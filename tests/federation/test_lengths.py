"""The lengths that docs/protocol.md states, compared with what the codec really writes in whole
rounds.
"""

from __future__ import annotations

import re
from functools import lru_cache
from pathlib import Path
from typing import Any

import pytest

from crypto.packing import Packing
from federation.limits import from_coordinator, from_hospital, vector_bytes
from federation.messages import KINDS
from tests.rig import Rig, config

DOCUMENT = (Path(__file__).parents[2] / "docs" / "protocol.md").read_text()
PROTECTIONS = ("plain", "masked", "ckks", "masked+ckks")
FROM_HOSPITALS = {1, 5, 6, 7, 11, 12, 13, 15, 18, 20, 22, 24, 26}


def evaluate(formula: str, **names: int) -> int:
    """A formula of the document; its own sign for a product is `·`."""
    return int(eval(formula.replace("·", "*"), {"__builtins__": {}}, names))


@lru_cache
def documented() -> dict[str, tuple[int, str]]:
    """Message → kind and formula."""
    rows = re.findall(r"^\| `(\w+)` \| (\d+) \|.*\| `([^`]+)` \|$", DOCUMENT, flags=re.M)
    return {name: (int(kind), formula) for name, kind, formula in rows}


@lru_cache
def captured(protection: str, n: int, killed: bool = False) -> dict[int, tuple[int, int]]:
    """Kind → the longest body, and the most bytes of buffers, of two rounds. `killed`: a hospital
    dies after its shares.
    """
    longest: dict[int, tuple[int, int]] = {}

    def tap(who: int, direction: str, frames: list[Any]) -> None:
        kind = int.from_bytes(frames[0][4:6], "big")
        body, buffers = longest.get(kind, (0, 0))
        longest[kind] = (
            max(body, len(frames[1])),
            max(buffers, sum(len(frame) for frame in frames[2:])),
        )
        if killed and kind == 15 and who == n - 1:
            rig.federation.kill(who)

    rig = Rig(config(protection, n, rounds=1 if killed else 2), tap=tap)
    rig.play()
    assert rig.federation.finished is not None and rig.federation.finished.completed
    return longest


def test_every_message_is_documented() -> None:
    assert {name: kind for name, (kind, _) in documented().items()} == {
        kind.__name__: number for number, kind in KINDS.items()
    }


@pytest.mark.parametrize("n", [3, 5, 12])
@pytest.mark.parametrize("protection", PROTECTIONS)
def test_bodies_are_as_long_as_documented(protection: str, n: int) -> None:
    for kind, (body, _) in captured(protection, n).items():
        stated = evaluate(documented()[KINDS[kind].__name__][1], n=n, h=n)
        assert body <= stated, KINDS[kind].__name__
        # these have fields that some protections leave empty
        if kind not in (12, 18, 23) or protection == "masked+ckks":
            assert stated <= 1.15 * body + 20 + 4 * n, KINDS[kind].__name__


def test_a_dropouts_shares_fit_too() -> None:
    longest = captured("masked", 5, killed=True)
    assert longest[22][0] <= evaluate(documented()["UnmaskShares"][1], n=5, h=5)


@pytest.mark.parametrize(
    ("protection", "changes"), [("plain", {"bits": 0}), *((kind, {}) for kind in PROTECTIONS)]
)
def test_vectors_are_as_long_as_documented(protection: str, changes: dict[str, int]) -> None:
    n = 5
    longest: dict[int, list[bytes]] = {}
    settings = config(protection, n, **changes)
    rig = Rig(
        settings,
        tap=lambda who, way, frames: longest.setdefault(
            int.from_bytes(frames[0][4:6], "big"), frames[2:]
        ),
    )
    rig.play()
    bits, classes, d = settings.protection.bits, 2, rig.layout.size
    e = d + (3 + classes**2) * (-(-48 // (bits - 1)) if bits else 5)
    m = 0
    if "ckks" in protection:
        parts = -(-e // Packing(bits, n, protection == "masked+ckks").fields)
        m = -(-parts // 4096)
    label = "plain, bits = 0" if changes else protection
    up, down = re.search(
        rf"^\| {re.escape(label)} \| `([^`]+)` \| `([^`]+)` \|$", DOCUMENT, flags=re.M
    ).groups()
    stated = tuple(
        evaluate(formula, e=e, m=m, ring=settings.protection.ring) for formula in (up, down)
    )
    assert stated == tuple(sum(len(frame) for frame in longest[kind]) for kind in (18, 23))
    assert stated == vector_bytes(settings, rig.layout)


def test_packing_table_is_what_packing_gives() -> None:
    rows = re.findall(
        r"^\| (\d+), (\d+) \| [^|]*\| (\d), ([\d.]+), ([\d.]+) \| (\d), ([\d.]+), ([\d.]+) \|$",
        DOCUMENT,
        flags=re.M,
    )
    assert len(rows) == 4
    for bits, n, *stated in rows:
        for masked, (fields, up, down) in ((False, stated[:3]), (True, stated[3:])):
            how = Packing(int(bits), int(n), masked)
            values = how.fields * how.degree
            assert (
                how.fields,
                f"{how.ciphertext_bytes / values:.2f}",
                f"{how.sum_bytes / values:.2f}",
            ) == (int(fields), up, down)


@pytest.mark.parametrize("n", [3, 5, 12, 100, 1000])
def test_limits_let_every_documented_length_through(n: int) -> None:
    settings = config("masked", min(n, 12))
    layout = Rig(config("masked", 3)).layout
    settings = config("masked", n, ring=32)
    up, down = from_hospital(settings, layout, n).body, from_coordinator(settings, layout, n).body
    for name, (kind, formula) in documented().items():
        assert evaluate(formula, n=n, h=n) <= (up if kind in FROM_HOSPITALS else down), name
