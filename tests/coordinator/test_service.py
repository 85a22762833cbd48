"""The coordinator's service and command, with a stand-in for the link."""

from __future__ import annotations

import signal
from collections.abc import Iterable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from typer.testing import CliRunner

from coordinator import command
from coordinator.keeper import Keeper
from coordinator.service import Coordinator, message_limits
from coordinator.store import Store
from federation import codec
from federation.messages import Finish, Message, Rejected, Welcome
from federation.records import files
from federation.records.events import (
    ConnectionRefused,
    HospitalDisconnected,
    HospitalJoined,
    UnreadableMessage,
)
from federation.records.state import RunProgress, Status
from federation.records.summary import CoordinatorSummary
from federation.transport.events import Connected, Denied, Disconnected, Received, Violation
from tests.rig import RUN, Rig, config, start_model


class Line:
    """Stands in for the link: gives what is in `coming`, a list a poll, and keeps what is sent."""

    address = "127.0.0.1:1"

    def __init__(self) -> None:
        self.coming: list[list[object]] = []
        self.sent: list[tuple[bytes, Message]] = []
        self.closed = False

    def poll(self, seconds: float) -> Iterable[object]:
        return self.coming.pop(0) if self.coming else []

    def send(self, peer: bytes, frames: Sequence[Any]) -> None:
        self.sent.append((peer, codec.decode(frames, codec.Limits(1 << 20, 1 << 20))))

    def close(self, goodbye: float) -> None:
        self.closed = True


class Desk:
    """A service on a stand-in link; `clock.now` is its time."""

    def __init__(self, folder: Path) -> None:
        self.rig = Rig(config("masked", 3, rounds=2))
        self.said: list[str] = []
        self.folder, self.line = folder, Line()
        settings = self.rig.config
        progress = RunProgress.of(RUN, settings.digest)
        self.keeper = Keeper(
            settings,
            self.rig.roster,
            start_model(),
            Store(folder, settings),
            progress,
            tell=self.said.append,
        )
        self.clock = SimpleNamespace(now=0.0)
        self.service = Coordinator(self.keeper, self.line, lambda: self.clock.now)

    def key(self, who: int) -> bytes:
        return self.rig.roster.transport_of(who)

    def hello(self, who: int) -> Received:
        return Received(self.key(who), codec.encode(self.rig.sessions[who].hello()))

    def events(self) -> list[Any]:
        return files.read_events(self.folder / "events.jsonl")


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


def test_a_message_of_a_hospital_reaches_the_run_and_the_answer_goes_back(desk: Desk) -> None:
    desk.line.coming = [[Connected(desk.key(1)), desk.hello(1)]]
    desk.service.step()
    ((peer, answer),) = desk.line.sent
    assert peer == desk.key(1) and isinstance(answer, Welcome)
    assert desk.events() == [HospitalJoined("hospital-2")]


def test_bytes_that_are_no_message_are_logged_and_answered_by_nothing(desk: Desk) -> None:
    desk.line.coming = [[Received(desk.key(0), [b"rubbish"])]]
    desk.service.step()
    (event,) = desk.events()
    assert isinstance(event, UnreadableMessage) and event.hospital == "hospital-1"
    assert desk.line.sent == []


def test_another_version_is_answered_with_the_reason(desk: Desk) -> None:
    header, *rest = desk.hello(0).frames
    other = bytes(header)[:2] + b"\xff\xff" + bytes(header)[4:]
    desk.line.coming = [[Received(desk.key(0), [other, *rest])]]
    desk.service.step()
    assert desk.line.sent == [(desk.key(0), Rejected(code="version"))]


def test_what_the_link_notices_is_logged_under_the_hospitals_name(desk: Desk) -> None:
    desk.line.coming = [
        [
            Disconnected(desk.key(2), "silent for 30 s"),
            Violation(desk.key(2), "a packet without an end"),
            Denied("10.1.1.1", "no key of the roster"),
        ]
    ]
    desk.service.step()
    assert desk.events() == [
        HospitalDisconnected("hospital-3", "silent for 30 s"),
        UnreadableMessage("hospital-3", "a packet without an end"),
        ConnectionRefused("no key of the roster"),
    ]


def test_what_comes_from_a_key_of_no_hospital_is_dropped(desk: Desk) -> None:
    stranger = b"\xee" * 32
    desk.line.coming = [[Received(stranger, desk.hello(0).frames), Disconnected(stranger, "x")]]
    desk.service.step()
    assert desk.line.sent == [] and desk.events() == []


def test_time_passes_also_when_nothing_comes(desk: Desk) -> None:
    for who in range(3):
        desk.line.coming.append([desk.hello(who)])
        desk.service.step()
    begun = len(desk.line.sent)
    desk.clock.now = 1000.0
    desk.service.step()
    assert len(desk.line.sent) > begun  # another hospital is asked to make the key


def test_a_stopped_service_says_so_to_the_hospitals_and_leaves_a_valid_folder(desk: Desk) -> None:
    desk.line.coming = [[desk.hello(0), desk.hello(1)]]
    shown: list[Status] = []
    desk.service.stop()
    assert desk.service.serve(shown.append) == 0
    finishes = [to for to, message in desk.line.sent if isinstance(message, Finish)]
    assert finishes == [desk.key(0), desk.key(1)] and desk.line.closed
    summary = files.read(desk.folder / "summary.json", CoordinatorSummary)
    assert (summary.stopped, summary.finished) == ("stopped", False)
    assert shown[-1].phase == "finished"
    assert desk.said[0] == "The coordinator listens at 127.0.0.1:1."


def test_status_is_shown_a_few_times_a_second_and_not_more(desk: Desk) -> None:
    shown: list[Status] = []

    def step() -> None:
        desk.clock.now += 0.1
        if desk.clock.now > 1.0:
            desk.service.stop()

    step_of_service = desk.service.step
    desk.service.step = lambda: (step(), step_of_service())[1]  # type: ignore[method-assign]
    desk.service.serve(shown.append)
    assert 4 <= len(shown) <= 6


def test_the_second_request_to_stop_ends_the_process(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    ended: list[int] = []
    monkeypatch.setattr("coordinator.service.os._exit", ended.append)
    desk.service.stop()
    assert ended == []
    desk.service.stop()
    assert ended == [130]


def test_a_large_message_is_allowed_to_no_hospital_that_was_not_asked_for_one(desk: Desk) -> None:
    assert message_limits(desk.keeper, 0) == message_limits(desk.keeper, None)


# ---- the command ---------------------------------------------------------------------


def test_the_command_serves_with_its_options_and_handles_signals(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    given: dict[str, Any] = {}
    handlers: dict[int, Any] = {}

    def assemble(config_path: Path, out: Path, secret: Path | None, **options: Any) -> Coordinator:
        given.update(options)
        return desk.service

    def install(number: int, handler: Any) -> None:
        handlers[number] = handler

    monkeypatch.setattr(command, "assemble", assemble)
    monkeypatch.setattr(command.signal, "signal", install)
    serve = desk.service.serve

    def stopped(*rest: Any) -> int:
        handlers[signal.SIGTERM](signal.SIGTERM, None)
        return serve(*rest)

    monkeypatch.setattr(desk.service, "serve", stopped)
    result = CliRunner().invoke(
        command.coordinator_app,
        ["--config", "f.toml", "--out", str(tmp_path), "--bind", "0.0.0.0:5", "--record"],
    )
    assert result.exit_code == 0, result.output
    assert given["bind"] == "0.0.0.0:5" and given["record"] and given["run"] is None
    assert set(handlers) == {signal.SIGINT, signal.SIGTERM}
    assert desk.keeper.finished is not None
