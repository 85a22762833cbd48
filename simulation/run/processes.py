"""A real federation on this machine: one coordinator process, N hospital processes, ZeroMQ with
CURVE on loopback.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import tomli_w

from coordinator.store import read_status
from federation.errors import FederationError
from federation.records.state import Status
from federation.transport.link import CurveKeys
from hospital_node.local_data import data_root
from learning.data import locate
from simulation.run.prepare import Prepared, admit
from simulation.run.seeds import run_id

Watch = Callable[[Status], None]
STOP_S = 20.0
UNAWARE_S = 10.0
"""So long after the coordinator's end a hospital that has not heard of it is stopped."""


def free_address() -> str:
    """A loopback address that nobody listens at."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{probe.getsockname()[1]}"


def write_files(prepared: Prepared) -> None:
    """Keys, roster and one hospital.toml for each hospital."""
    options = prepared.options
    roster, _ = admit(
        prepared,
        free_address(),
        lambda: (lambda pair: (pair.public, pair.secret))(CurveKeys.generate()),
    )
    for number, identifier in enumerate(prepared.ids):
        content = {
            "hospital": {
                "secret": f"{identifier}.secret",
                "out": os.path.relpath(options.out / "hospitals" / identifier, prepared.folder),
                "device": options.device,
                "threads": 1,
                "baselines": options.baselines,
            },
            "data": {
                "source": _source(options.data),
                "test_fraction": options.test_fraction,
                "partition": options.partition,
                "part": number,
                "parts": options.hospitals,
                "seed": options.seed,
            },
            "policy": {
                "min_cohort": prepared.config.federation.min_cohort,
                "protections": [prepared.config.protection.kind],
                "share_metrics": True,
            },
        }
        (prepared.folder / f"{identifier}.toml").write_text(tomli_w.dumps(content))
    (prepared.folder / "accepted-roster").write_text(roster.digest.hex() + "\n")


def _source(data: str) -> str:
    """Where the images are, for a process that runs in another folder."""
    return locate(data, data_root())


class Processes:
    """Start, watch, stop. Every process is a session of its own, so that Ctrl-C reaches this one
    only, which then stops all in order.
    """

    def __init__(self, prepared: Prepared) -> None:
        self.prepared = prepared
        self.running: dict[str, subprocess.Popen[bytes]] = {}
        self.logs = prepared.options.out / "logs"
        self.logs.mkdir(parents=True, exist_ok=True)
        self._ended = 0.0
        self._asked: set[str] = set()

    def start(self) -> None:
        # they run in another folder
        folder, options = self.prepared.folder.absolute(), self.prepared.options
        arguments = [
            "coordinator",
            "--config",
            str(folder / "federation.toml"),
            "--out",
            str(options.out.absolute()),
            "--quiet",
        ]
        arguments += [
            "--run-id",
            run_id(options.seed).hex(),
            *(["--record"] if options.record else []),
        ]
        self._spawn("coordinator", arguments)
        for identifier in self.prepared.ids:
            self._spawn(identifier, ["node", "--config", str(folder / f"{identifier}.toml")])

    def _spawn(self, name: str, arguments: list[str]) -> None:
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"}
        with (self.logs / f"{name}.log").open("ab") as log:
            self.running[name] = subprocess.Popen(
                [sys.executable, "-m", "flop", *arguments],
                stdout=log,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                env=environment,
                start_new_session=True,
                cwd=Path(__file__).resolve().parents[2],
            )

    def wait(self, show: Watch, stop: Callable[[], bool]) -> None:
        """Until all have ended, or `stop` says so. Raises FederationError, with the end of its log,
        if the coordinator fails.
        """
        while any(process.poll() is None for process in self.running.values()) and not stop():
            shot = read_status(self.prepared.options.out)
            if shot is not None:
                show(shot)
            code = self.running["coordinator"].poll()
            if code:
                raise FederationError(
                    f"the coordinator ended with code {code}: {self.tail('coordinator')}"
                )
            if code == 0:
                self._stop_unaware()
            if code is None and all(
                process.poll() for name, process in self.running.items() if name != "coordinator"
            ):
                raise FederationError(
                    f"every hospital has failed, the first with: {self.tail(self.prepared.ids[0])}"
                )
            time.sleep(0.2)

    def _stop_unaware(self) -> None:
        """The run is over. A hospital that was away at its end would wait for the coordinator to
        come back: stop it.
        """
        self._ended = self._ended or time.monotonic()
        if time.monotonic() - self._ended < UNAWARE_S:
            return
        for name in self.prepared.ids:
            summary = self.prepared.options.out / "hospitals" / name / "summary.json"
            knows = summary.exists() and json.loads(summary.read_text()).get("finished")
            if not knows:
                self._ask_to_stop(name)

    def _ask_to_stop(self, name: str) -> None:
        """Once: asked twice, a service ends without writing anything down."""
        if name not in self._asked and self.running[name].poll() is None:
            self._asked.add(name)
            self.running[name].send_signal(signal.SIGTERM)

    def tail(self, name: str) -> str:
        """The last line that a process printed."""
        lines = (self.logs / f"{name}.log").read_text(errors="replace").strip().splitlines()
        return lines[-1] if lines else "it printed nothing"

    def stop(self) -> None:
        """Ask all to stop between two batches, hospitals first; end those that do not."""
        for name in reversed(list(self.running)):
            self._ask_to_stop(name)
        until = time.monotonic() + STOP_S
        for process in self.running.values():
            try:
                process.wait(max(0.1, until - time.monotonic()))
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
