"""A hospital's process with a stand-in for its socket: messages in, messages out, and time."""

from __future__ import annotations

import queue
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from federation import codec
from federation.effects import Adopt
from federation.limits import from_coordinator, from_hospital
from federation.messages import (
    Finish,
    Hello,
    Message,
    Progress,
    Refusal,
    Rejected,
    RoundReport,
    Welcome,
)
from federation.transport.link import Connected, Disconnected, Received, Violation
from hospital_node import service
from hospital_node.keeper import Keeper
from hospital_node.service import HELLO_S, Node
from hospital_node.storage import Storage
from hospital_node.work import LocalTestDone, Result
from tests.rig import RUN, Rig, StandIn, config, counts_of

HUB = bytes(32)
PATIENCE = 10.0


class Work(StandIn):
    """A stand-in with a worker's outside; what it was asked for is done when a test says so."""

    def __init__(self) -> None:
        super().__init__(0)
        self.results: queue.SimpleQueue[Result] = queue.SimpleQueue()
        self.percent: int | None = None
        self.stopped = False

    def stop(self) -> None:
        self.stopped = True


class Line:
    """A link whose events are put in by hand; `sent` is what went out, decoded."""

    def __init__(self, rig: Rig) -> None:
        self.limits = from_hospital(rig.config, rig.layout, 3, 1 << 20)
        self.events: deque[object] = deque()
        self.sent: list[Message] = []
        self.closed = False

    def poll(self, timeout_s: float) -> list[object]:
        return [self.events.popleft()] if self.events else []

    def send(self, peer: bytes, frames: Sequence[bytes | memoryview]) -> bool:
        assert peer == HUB
        self.sent.append(codec.decode([bytes(frame) for frame in frames], self.limits))
        return True

    def close(self, linger_s: float) -> None:
        self.closed = True

    def arrives(self, message: Message) -> None:
        frames = [bytes(frame) for frame in codec.encode(message)]
        self.events.append(Received(peer=HUB, frames=frames))


class Served:
    """A node with its line, its clock and what it told its operator."""

    def __init__(self, folder: Path) -> None:
        rig = Rig(config("masked", 3, rounds=4))
        self.session, self.work, self.line = rig.session(0), Work(), Line(rig)
        self.said: list[str] = []
        self.now = 100.0
        tell = self.said.append
        keeper: Keeper[Any] = Keeper(self.session, self.work, Storage(folder), tell=tell)
        limits = from_coordinator(rig.config, rig.layout, 3)
        self.node = Node(
            keeper, self.line, HUB, limits, address="hub:5555", tell=tell, clock=lambda: self.now
        )

    def turn(self, *messages: Message) -> list[Message]:
        """What the node sends after these messages have come."""
        before = len(self.line.sent)
        for message in messages:
            self.line.arrives(message)
            self.node.turn()
        if not messages:
            self.node.turn()
        return self.line.sent[before:]


@pytest.fixture
def served(tmp_path: Path) -> Served:
    return Served(tmp_path)


def test_a_connection_is_answered_with_hello(served: Served) -> None:
    served.line.events.append(Connected(peer=HUB))
    (hello,) = served.turn()
    assert isinstance(hello, Hello) and hello.run is None


def test_the_end_of_the_run_ends_the_node_with_code_0(served: Served) -> None:
    served.line.arrives(Welcome(run=RUN, rounds=4))
    served.line.arrives(Finish(completed=0))
    assert served.node.serve() == 0
    assert served.line.closed and served.work.stopped
    assert served.said[0] == "hospital-1: connecting to hub:5555"


def test_a_node_that_is_turned_away_ends_with_code_2(served: Served) -> None:
    served.line.arrives(Rejected(code="roster"))
    assert served.node.serve() == 2


def test_rubbish_from_the_coordinator_is_told_and_not_answered(served: Served) -> None:
    served.line.events.append(Received(peer=HUB, frames=[b"rubbish", b""]))
    assert served.turn() == []
    assert served.said[-1].startswith("refused what the coordinator sent: ")


def test_what_the_transport_reports_is_told_until_the_run_is_over(served: Served) -> None:
    served.line.events.append(Disconnected(peer=HUB, reason="the line is down"))
    served.turn()
    served.line.events.append(Violation(peer=HUB, reason="nonsense came"))
    served.turn()
    assert served.said == ["the line is down", "nonsense came"]
    served.turn(Welcome(run=RUN, rounds=4), Finish(completed=0))
    served.line.events.append(Disconnected(peer=HUB, reason="the coordinator has left"))
    served.turn()
    assert "the coordinator has left" not in served.said


def test_results_of_the_worker_reach_the_keeper(served: Served) -> None:
    served.turn(Welcome(run=RUN, rounds=4))
    served.node.keeper.unreported = 0
    served.work.results.put(LocalTestDone(0, 0.5, counts_of(3)))
    (report,) = served.turn()
    assert type(report).__name__ == "RoundReport"


def test_a_report_waits_for_a_quarter_of_the_patience_and_then_goes_without_its_score(
    served: Served,
) -> None:
    served.turn(Welcome(run=RUN, rounds=4))
    served.node.keeper.perform([Adopt(served.session.shared, counted=True)])
    assert served.turn() == []
    served.now += PATIENCE / 4
    assert served.turn() == []
    served.now += 0.1
    (report,) = served.turn()
    assert isinstance(report, RoundReport) and report.accuracy is None
    served.now += PATIENCE / 2
    assert served.turn() == [], "once"


def test_a_test_that_is_done_in_time_is_reported_once(served: Served) -> None:
    served.turn(Welcome(run=RUN, rounds=4))
    served.node.keeper.perform([Adopt(served.session.shared, counted=True)])
    served.turn()
    served.work.results.put(LocalTestDone(0, 0.5, counts_of(3)))
    assert len(served.turn()) == 1
    served.now += PATIENCE / 2
    assert served.turn() == []


def test_hello_is_said_again_after_a_long_silence_in_a_run(served: Served) -> None:
    served.now += 2 * HELLO_S
    assert served.turn() == [], "there is no run yet"
    served.turn(Welcome(run=RUN, rounds=4))
    served.now += HELLO_S
    assert served.turn() == []
    served.now += 0.1
    (hello,) = served.turn()
    assert isinstance(hello, Hello) and hello.run == RUN
    assert served.turn() == [], "once for each silence"


def test_progress_is_told_in_per_cent_at_most_once_a_second(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(type(served.session), "round", 2)
    assert served.turn() == [], "the training has not begun"
    served.work.percent = 12
    assert served.turn() == [Progress(round=2, percent=12)]
    served.work.percent = 50
    assert served.turn() == []
    served.now += service.PROGRESS_S
    assert served.turn() == [Progress(round=2, percent=50)]
    served.now += service.PROGRESS_S
    assert served.turn() == [], "nothing has changed"


def test_a_stopped_node_ends_with_code_0_and_says_how_to_go_on(served: Served) -> None:
    served.node.stop()
    assert served.node.serve() == 0
    assert served.said[-1] == "stopped; start it again to go on where it was"
    assert not [message for message in served.line.sent if isinstance(message, Refusal)]


def test_a_second_stop_ends_the_process_at_once(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    codes: list[int] = []
    monkeypatch.setattr(service.os, "_exit", codes.append)
    served.node.stop()
    assert not codes
    served.node.stop()
    assert codes == [130]


def test_a_node_whose_last_run_is_over_says_what_it_waits_for(served: Served) -> None:
    served.turn(Welcome(run=RUN, rounds=4), Finish(completed=0))
    served.said.clear()
    served.node.keeper.over = True
    served.node.serve()
    assert "the last run is over" in served.said[0]
