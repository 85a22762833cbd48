"""README, "On separate machines": exactly its commands, from four folders that share no file but
those that it says to copy.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
HOSPITALS = ("north", "south", "east")
CLASSES = ("normal", "pneumonia", "covid19")


def block(name: str) -> list[list[str]]:
    """The commands of a fenced block."""
    (text,) = re.findall(rf"^```sh {name}\n(.*?)^```$", README, flags=re.M | re.S)
    return [shlex.split(line) for line in text.splitlines()]


def copied(to: str) -> list[str]:
    """The files of the table that go `to`."""
    (row,) = re.findall(rf"^\| (.*) \| .* \| {to} \|$", README, flags=re.M)
    return re.findall(r"`([^`]+)`", row)


def write_images(folder: Path, seed: int) -> None:
    """Eight tiny images of each class, which differ in their brightness."""
    rng = np.random.default_rng(seed)
    for place, name in enumerate(CLASSES):
        (folder / "train" / name).mkdir(parents=True)
        for number in range(8):
            pixels = rng.integers(0, 60, (32, 32)) + 80 * place
            Image.fromarray(pixels.astype(np.uint8)).save(folder / "train" / name / f"{number}.png")


class Machines:
    """Four folders, and what runs in them."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.running = folder, dict[str, subprocess.Popen[str]]()
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.address = f"127.0.0.1:{probe.getsockname()[1]}"
        for name in ("hub", *HOSPITALS):
            (folder / name).mkdir()

    def _start(
        self, machine: str, command: list[str], fingerprint: str = ""
    ) -> subprocess.Popen[str]:
        """As in the README, but for what is this machine's: its name, its address, its data, the
        fingerprint.
        """
        known = {
            "192.0.2.10:5555": self.address,
            "/data/chest": str(self.folder / "data" / machine),
            "as it was read out": fingerprint,
        }
        arguments = [known.get(word, machine if word == "north" else word) for word in command]
        assert arguments[0] == "flop"
        environment = {
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "OMP_NUM_THREADS": "1",
            "PYTHONUNBUFFERED": "1",
        }
        return subprocess.Popen(
            [sys.executable, "-m", *arguments],
            cwd=self.folder / machine,
            env=environment,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )

    def start(self, machine: str, command: list[str]) -> None:
        self.running[machine] = self._start(machine, command)

    def run(self, machine: str, command: list[str], fingerprint: str = "") -> str:
        """What it printed. Fails unless it ended well."""
        process = self._start(machine, command, fingerprint)
        printed, _ = process.communicate(timeout=120)
        assert process.returncode == 0, printed
        return printed

    def carry(self, source: str, name: str, to: str) -> None:
        shutil.copy(self.folder / source / name, self.folder / to / name)

    def stop(self) -> None:
        for process in self.running.values():
            if process.poll() is None:
                process.send_signal(signal.SIGKILL)
            process.communicate()


@pytest.fixture
def machines(tmp_path: Path) -> Iterator[Machines]:
    made = Machines(tmp_path)
    yield made
    made.stop()


def test_no_party_needs_more_than_four_commands() -> None:
    assert (
        len(block("coordinator")) <= 4 and len(block("hospital-keys")) + len(block("hospital")) <= 4
    )


@pytest.mark.slow
def test_commands_of_the_readme(machines: Machines) -> None:
    for seed, hospital in enumerate(HOSPITALS):
        write_images(machines.folder / "data" / hospital, seed)
        machines.run(hospital, block("hospital-keys")[0])
    for public in copied("the coordinator"):
        machines.carry(public.removesuffix(".pub"), public, "hub")

    *prepare, lead = block("coordinator")
    for command in prepare:
        printed = machines.run("hub", command)
    fingerprint = printed.strip().rpartition(": ")[2]
    machines.start("hub", lead)

    accept, doctor, node = block("hospital")
    for hospital in HOSPITALS:
        for name in copied("every hospital"):
            machines.carry("hub", name, hospital)
        machines.run(hospital, accept, fingerprint)
    machines.run("north", doctor)
    for hospital in HOSPITALS:
        machines.start(hospital, node)
    for process in machines.running.values():
        printed, _ = process.communicate(timeout=240)
        assert process.returncode == 0, printed

    summaries = {
        name: json.loads((machines.folder / name / "run" / "summary.json").read_text())
        for name in ("hub", *HOSPITALS)
    }
    assert summaries["hub"]["rounds_completed"] == 20
    assert all(
        summaries[name]["finished"] and summaries[name]["local_test"]["accuracy"] is not None
        for name in HOSPITALS
    )
    models = {
        (machines.folder / name / "run" / "shared.safetensors").read_bytes()
        for name in ("hub", *HOSPITALS)
    }
    heads = {
        (machines.folder / name / "run" / "private.safetensors").read_bytes() for name in HOSPITALS
    }
    assert len(models) == 1 and len(heads) == 3
    assert not list((machines.folder / "hub").rglob("private*")) and not list(
        (machines.folder / "hub").rglob("hospital.toml")
    )
