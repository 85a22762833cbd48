"""The state diagrams of docs/protocol.md."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

from coordinator.presence import TRUST, Event, Trust

SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "make_diagrams.py"


@pytest.fixture(scope="module")
def diagrams() -> ModuleType:
    spec = importlib.util.spec_from_file_location("make_diagrams", SCRIPT)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_diagrams_of_the_protocol_are_those_of_the_tables(diagrams: ModuleType) -> None:
    assert diagrams.main(["--check"]) == 0


def test_a_changed_table_makes_the_page_out_of_date(
    diagrams: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(diagrams, "TRUST", {**TRUST, (Trust.DOUBTED, Event.HEARD): Trust.TRUSTED})
    assert diagrams.main(["--check"]) == 1


def test_a_page_without_a_place_for_a_diagram_is_refused(diagrams: ModuleType) -> None:
    with pytest.raises(ValueError, match="no place for the diagrams"):
        diagrams.drawn("<!-- diagram trust -->\n<!-- end of diagram -->\n")


def test_states_that_share_an_event_are_drawn_once(diagrams: ModuleType) -> None:
    drawn = diagrams.contact()
    assert "connected --> away: silent, late" in drawn
    assert "asked --> away" not in drawn


def test_every_step_of_a_protection_is_an_arrow(diagrams: ModuleType) -> None:
    drawn = diagrams.steps("masked")
    assert "[*] --> Advertised: training done" in drawn
    assert "Keyed --> Masked: Grant" in drawn
    assert "Unmasked --> [*]: Aggregate" in drawn
