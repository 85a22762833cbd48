"""A real federation over ZeroMQ on loopback for tests: the services themselves, each in a thread,
with taps on their sockets.
"""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

from coordinator.assemble import assemble as assemble_coordinator
from hospital_node.assemble import assemble
from hospital_node.service import Node, node
from simulation.run.node import read_hospital
from simulation.run.options import Options
from simulation.run.prepare import Prepared, prepare
from simulation.run.processes import write_files
from simulation.run.seeds import run_id

SMALL = {
    "data": "phantom-cxr:120",
    "image_size": 28,
    "hospitals": 3,
    "rounds": 1,
    "baselines": False,
    "lr": 0.01,
}


class ZmqFederation:
    """`play` runs it to its end. `frames` are the decrypted frames at the coordinator's socket:
    (direction, bytes).
    """

    def __init__(self, folder: Path, **options: Any) -> None:
        self.options = Options.of(out=folder, **{**SMALL, **options})
        self.prepared: Prepared = prepare(self.options)
        write_files(self.prepared)
        self.frames: list[tuple[str, bytes]] = []
        self.said: dict[str, list[str]] = {"coordinator": []}
        self.coordinator = assemble_coordinator(
            self.prepared.folder / "federation.toml",
            folder,
            run=run_id(self.options.seed),
            tell=self.said["coordinator"].append,
            tap=self._tap,
        )
        self.nodes: dict[str, Node] = {}
        for identifier in self.prepared.ids:
            self.said[identifier] = []
            settings = read_hospital(self.prepared.folder / f"{identifier}.toml")
            tell = self.said[identifier].append
            self.nodes[identifier] = node(assemble(settings, tell), tell)

    def _tap(self, direction: str, peer: bytes, frames: Any) -> None:
        self.frames += [(direction, bytes(frame)) for frame in frames]

    def play(self, timeout: float = 120.0) -> ZmqFederation:
        threads = [
            threading.Thread(target=service.serve, daemon=True)
            for service in (self.coordinator, *self.nodes.values())
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(timeout)
            if thread.is_alive():
                raise AssertionError(f"a service did not end: {self.said}")
        return self
