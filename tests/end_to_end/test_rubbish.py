"""An admitted hospital that sends rubbish: the others finish, the coordinator lives, and says who
it was.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from federation import codec
from federation.messages import Rejected
from federation.transport.link import Connected, CurveKeys, HospitalLink, Received
from hospital_node.settings import Hospital
from tests.end_to_end.zmq_federation import ZmqFederation

Script = Callable[[list[Any]], list[bytes]]


def truncated(hello: list[Any]) -> list[bytes]:
    return [bytes(hello[0]), bytes(hello[1])[:-3]]


def other_version(hello: list[Any]) -> list[bytes]:
    header = bytearray(hello[0])
    header[2:4] = (codec.PROTOCOL_VERSION + 1).to_bytes(2, "big")
    return [bytes(header), bytes(hello[1])]


def no_message(hello: list[Any]) -> list[bytes]:
    return [b"\xff" * 5]


def too_large(hello: list[Any]) -> list[bytes]:
    return [bytes(hello[0]), bytes(hello[1]), bytes(3 << 20)]


def other_config(hello: list[Any]) -> list[bytes]:
    return [bytes(hello[0]), bytes(hello[1]).replace(bytes(hello[1])[5:15], bytes(10), 1)]


class Rubbish:
    """Stands in for a hospital's process: its keys are right, what it sends is not."""

    def __init__(self, settings: Hospital, hello: list[Any], script: Script) -> None:
        keys = settings.secrets
        self.coordinator = settings.roster.coordinator.transport_key
        pair = CurveKeys(*keys.transport_pair)
        self.make = lambda: HospitalLink(
            settings.address, pair, self.coordinator, lambda peer: 1 << 20
        )
        self.frames = script(hello)
        self.got: list[list[Any]] = []
        self.over = False

    def serve(self) -> None:
        link = self.make()
        while not self.over:
            for event in link.poll(0.05):
                if isinstance(event, Connected):
                    for _ in range(3):
                        link.send(self.coordinator, self.frames)
                if isinstance(event, Received):
                    self.got.append(event.frames)
        link.close()


@pytest.mark.parametrize("script", [truncated, other_version, no_message, too_large, other_config])
def test_rubbish_from_an_admitted_hospital_hurts_nobody_else(
    tmp_path: Path, script: Script
) -> None:
    federation = ZmqFederation(
        tmp_path / "run", hospitals=4, rounds=2, set=("federation.patience=2.0",)
    )
    name = federation.prepared.ids[3]
    node = federation.nodes.pop(name)
    node.worker.stop()
    node.link.close(0.0)
    rubbish = Rubbish(
        Hospital(federation.prepared.folder / f"{name}.toml"),
        codec.encode(node.keeper.hello()),
        script,
    )
    thread = threading.Thread(target=rubbish.serve, daemon=True)
    thread.start()
    try:
        federation.play()
    finally:
        rubbish.over = True
        thread.join()
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert summary["rounds_completed"] == 2 and summary["finished"]
    assert any(name in line for line in federation.said["coordinator"])
    if script in (other_version, other_config):
        answers = [codec.decode(frames, codec.Limits(1 << 16, 0)) for frames in rubbish.got]
        assert Rejected(code="version" if script is other_version else "config") in answers
