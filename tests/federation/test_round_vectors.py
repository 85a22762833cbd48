"""Whole rounds, step by step, and the bytes of every message: the committed transcripts are what
the code gives, and each role alone answers the recorded messages with the recorded ones.
"""

from __future__ import annotations

import copy
import importlib
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from federation import codec
from federation import roster as rosters
from federation.config import FederationConfig, decode_toml
from federation.messages import Message
from federation.plan import Plan
from federation.protections.base import step
from federation.types import HospitalNumber

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "tests" / "vectors" / "protocol"
sys.path.insert(0, str(ROOT / "scripts"))
round_vectors = importlib.import_module("round_vectors")
message_vectors = importlib.import_module("message_vectors")
WIDE = codec.Limits(1 << 20, 1 << 20)
CLEAR = [name for name, case in round_vectors.CASES.items() if "ckks" not in case[0]]


def recorded(name: str) -> dict[str, Any]:
    return json.loads((FOLDER / f"{name}.json").read_text())


def message(shown: dict[str, Any]) -> Message:
    return codec.decode([bytes.fromhex(frame) for frame in shown["frames"]], WIDE)


@pytest.mark.parametrize("name", round_vectors.CASES)
def test_a_round_gives_the_recorded_transcript(name: str) -> None:
    played = round_vectors.rounds([name])[name]
    assert json.loads(json.dumps(played)) == recorded(name)


@pytest.mark.parametrize("name", round_vectors.CASES)
def test_a_hospital_answers_recorded_messages_with_the_recorded_ones(
    name: str, tmp_path: Path
) -> None:
    """Every input comes from the file, except the random bytes, whose rule the file cannot hold."""
    file, maker = recorded(name), round_vectors.Transcript(*round_vectors.CASES[name])
    (tmp_path / "roster.toml").write_text(file["roster.toml"])
    plan = Plan(
        config=decode_toml(file["federation.toml"].encode(), FederationConfig, name),
        roster=rosters.read(tmp_path / "roster.toml"),
        layout=round_vectors.LAYOUT,
        run=bytes.fromhex(file["run"]),
        round=file["round"],
    )
    states: dict[HospitalNumber, Any] = {}
    for entry in file["steps"]:
        role, _, number = entry["role"].partition(" ")
        if role != "hospital":
            continue
        who = HospitalNumber(int(number))
        if entry["receives"] is None:
            states[who], sent = maker.protection.begin(plan, maker.local_inputs(who))
        elif "ciphertext_bytes" in entry["receives"]:
            continue
        else:
            received = message(entry["receives"])
            states[who], sent = step(maker.protection.steps, states[who], received)
        assert (None if sent is None else maker.shown(sent)) == entry["sends"], entry["step"]


@pytest.mark.parametrize("name", CLEAR)
def test_the_coordinator_answers_recorded_messages_with_the_recorded_ones(name: str) -> None:
    """Not under ckks: a recorded ciphertext would be another one than is signed."""
    file, maker = recorded(name), round_vectors.Transcript(*round_vectors.CASES[name])
    gathering = maker.protection.open_round(maker.plan)
    waiting: dict[int, dict[str, Any]] = {}
    for entry in file["steps"]:
        if entry["role"] != "coordinator":
            if entry["sends"] is not None:
                waiting[int(entry["role"].split()[1])] = entry["sends"]
            continue
        for who in entry["has"]:
            gathering.accept(who, message(waiting[who]))
        following, messages = gathering.close()
        sends = {str(who): maker.shown(one) for who, one in messages.items()}
        if "everybody" in entry["sends"]:
            sends["everybody"] = maker.shown(following.aggregate)
        assert sends == entry["sends"], entry["phase"]
        gathering = following


def test_every_message_has_the_recorded_bytes() -> None:
    assert json.loads(json.dumps(message_vectors.messages())) == recorded("messages")


def test_a_changed_field_needs_a_new_protocol_version() -> None:
    before = recorded("messages")
    after = copy.deepcopy(before)
    assert message_vectors.unannounced(before, after) == []
    after["messages"]["Progress"]["fields"].append("loss")
    del after["messages"]["Grant"]
    assert message_vectors.unannounced(before, after) == ["Grant", "Progress"]
    after["protocol_version"] += 1
    assert message_vectors.unannounced(before, after) == []


def test_the_transcripts_are_small() -> None:
    assert sum(path.stat().st_size for path in FOLDER.glob("*.json")) < 1_000_000
