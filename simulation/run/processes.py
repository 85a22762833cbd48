"""A real federation on this machine: one coordinator process and N hospital processes that talk
over ZeroMQ with CURVE on loopback.
"""

from __future__ import annotations

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
from federation.records import files
from federation.records.state import Status
from federation.records.summary import HospitalSummary
from federation.transport.link import CurveKeys
from hospital_node.local_data import data_root
from hospital_node.settings import Share
from learning.data import locate
from simulation.run.node import write_share
from simulation.run.prepare import Prepared, admit
from simulation.run.seeds import run_id

Watch = Callable[[Status], None]
STOP_S = 20.0
"""Seconds that a process has to stop before it is killed."""
UNAWARE_S = 10.0
"""Seconds after the coordinator's end at which a hospital that does not know of it is stopped."""


def write_files(prepared: Prepared) -> None:
    """Write keys, roster, and for each hospital its hospital.toml and its share of the data."""
    options = prepared.options
    roster, _ = admit(prepared, _free_address(), _transport_pair)
    division = prepared.division
    for identifier, rows in zip(prepared.ids, division.parts, strict=True):
        content = {
            "hospital": {
                "secret": f"{identifier}.secret",
                "out": os.path.relpath(options.out / "hospitals" / identifier, prepared.folder),
                "device": options.device,
                "threads": 1,
                "baselines": options.baselines,
            },
            "data": {
                "source": locate(options.data, data_root()),
                "test_fraction": options.test_fraction,
            },
            "policy": {
                "min_cohort": prepared.config.federation.min_cohort,
                "protections": [prepared.config.protection.kind],
                "share_metrics": True,
            },
        }
        path = prepared.folder / f"{identifier}.toml"
        path.write_text(tomli_w.dumps(content))
        share = Share(rows=tuple(rows.tolist()), seed=options.seed, notes=tuple(division.notes))
        write_share(path, share)
    (prepared.folder / "accepted-roster").write_text(roster.digest.hex() + "\n")


def _free_address() -> str:
    """A loopback address at which nothing listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{probe.getsockname()[1]}"


def _transport_pair() -> tuple[bytes, bytes]:
    pair = CurveKeys.generate()
    return pair.public, pair.secret


class Processes:
    """Starts, watches and stops the processes of a federation.

    Each is the leader of a session of its own, so that Ctrl-C reaches only this process, which then
    stops the others in order.

    Attributes:
        running: The last process of each party, by the party's name.
    """

    def __init__(self, prepared: Prepared) -> None:
        self.prepared = prepared
        self.running: dict[str, subprocess.Popen[bytes]] = {}
        self.logs = prepared.options.out / "logs"
        self.logs.mkdir(parents=True, exist_ok=True)
        self._ended: float | None = None
        self._asked: set[str] = set()

    def start(self) -> None:
        """Start the coordinator and every hospital."""
        for name in ("coordinator", *self.prepared.ids):
            self.start_party(name)

    def start_party(self, name: str) -> None:
        """Start one party; again, if its process has ended: it continues where it was."""
        # the processes run in the folder of our modules, so that paths have to be absolute
        folder, options = self.prepared.folder.absolute(), self.prepared.options
        if name == "coordinator":
            arguments = [
                *("flop", "coordinator", "--quiet"),
                *("--config", str(folder / "federation.toml")),
                *("--out", str(options.out.absolute())),
                *("--run-id", run_id(options.seed).hex()),
                *(["--record"] if options.record else []),
            ]
        else:
            arguments = ["simulation.run.node", str(folder / f"{name}.toml")]
        with (self.logs / f"{name}.log").open("ab") as log:
            self.running[name] = subprocess.Popen(
                [sys.executable, "-m", *arguments],
                stdout=log,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"},
                start_new_session=True,
                cwd=Path(__file__).resolve().parents[2],
            )

    def wait(self, show: Watch, stop: Callable[[], bool]) -> None:
        """Wait until all processes have ended, or `stop` returns True.

        Args:
            show: Called with the coordinator's latest snapshot, several times a second.
            stop: Whether the user has asked to stop.

        Raises:
            FederationError: If the coordinator or every hospital fails; with the end of the log.
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
        """Stop the hospitals that do not know that the run is over.

        A hospital that was away at the end would wait for the coordinator to come back.
        """
        if self._ended is None:
            self._ended = time.monotonic()
        if time.monotonic() - self._ended < UNAWARE_S:
            return
        for name in self.prepared.ids:
            path = self.prepared.options.out / "hospitals" / name / "summary.json"
            if not path.exists() or not files.read(path, HospitalSummary).finished:
                self._ask_to_stop(name)

    def _ask_to_stop(self, name: str) -> None:
        """Send SIGTERM once: a service that gets it twice ends without writing its files."""
        if name not in self._asked and self.running[name].poll() is None:
            self._asked.add(name)
            self.running[name].send_signal(signal.SIGTERM)

    def tail(self, name: str) -> str:
        """The last line that a party's process printed."""
        lines = (self.logs / f"{name}.log").read_text(errors="replace").strip().splitlines()
        return lines[-1] if lines else "it printed nothing"

    def stop(self) -> None:
        """Ask all to stop between two batches, hospitals first; kill those that do not in time."""
        for name in reversed(list(self.running)):
            self._ask_to_stop(name)
        until = time.monotonic() + STOP_S
        for process in self.running.values():
            try:
                process.wait(max(0.1, until - time.monotonic()))
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
