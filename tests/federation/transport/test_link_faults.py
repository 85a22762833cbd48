"""What hospitals' networks do to the link: cut and dead lines, restarts, wrong addresses, peers
that do not behave.
"""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator

import pytest

from federation.transport import sockets as module
from federation.transport.link import Connected, Denied, Disconnected, Violation
from federation.transport.packets import OPEN, encode
from tests.federation.transport.loopback import (
    ALICE,
    BOB,
    EVE,
    MB,
    SERVER,
    Cable,
    Stage,
    large,
    serve_for,
    settle,
)


@pytest.fixture
def stage() -> Iterator[Stage]:
    stage = Stage()
    yield stage
    stage.close()


def test_an_upload_survives_lost_connections(stage):
    coordinator = stage.coordinator()
    cable = Cable(coordinator.link.address)
    alice = stage.hospital(cable.address)
    sent = [[b"first"], [b"upload", large(12 * MB)], [b"last"]]
    for frames in sent:
        alice.link.send(SERVER.public, frames)
    for cut_after in (3 * MB, 8 * MB):
        settle([coordinator, alice], lambda after=cut_after: cable.carried > after)
        cable.cut()
    settle([coordinator, alice], lambda: len(coordinator.messages) == 3)
    coordinator.link.send(ALICE.public, [b"thanks"])  # goes to the newest connection
    settle([coordinator, alice], lambda: alice.messages)
    assert coordinator.messages == sent
    assert len(coordinator.all(Connected)) == 3 and len(coordinator.all(Disconnected)) == 2
    assert cable.carried < 12 * MB + 2 * 6 * MB  # it went on where it was, and did not begin again
    cable.close()


def test_a_restarted_coordinator_gets_the_upload_that_was_under_way(stage):
    coordinator = stage.coordinator()
    alice = stage.hospital(coordinator.link.address)
    alice.link.send(SERVER.public, [b"before"])
    settle([coordinator, alice], lambda: coordinator.messages)
    alice.link.send(SERVER.public, [b"upload", large(12 * MB)])
    settle(
        [coordinator, alice],
        lambda: coordinator.link._reception.conversation(ALICE.public)._in[False].held,
    )
    coordinator.link.close()
    again = stage.coordinator(coordinator.link.address)
    settle([again, alice], lambda: again.messages)
    again.link.send(ALICE.public, [b"welcome back"])
    settle([again, alice], lambda: alice.messages)
    assert again.messages == [[b"upload", large(12 * MB)]]
    assert len(alice.all(Disconnected)) == 1 and len(alice.all(Connected)) == 2


def test_a_second_process_with_the_same_key_takes_over_and_the_first_is_told(stage):
    coordinator = stage.coordinator()
    first = stage.hospital(coordinator.link.address)
    settle([coordinator, first], lambda: first.all(Connected))
    second = stage.hospital(coordinator.link.address)
    settle([coordinator, first, second], lambda: second.all(Connected) and first.all(Denied))
    coordinator.link.send(ALICE.public, [b"to the newest"])
    settle([coordinator, first, second], lambda: second.messages)
    assert not first.messages and "another process" in first.all(Denied)[0].reason


def test_too_long_a_message_is_refused_on_both_sides_and_the_next_one_arrives(stage):
    stage.limits[ALICE.public] = MB
    coordinator = stage.coordinator()
    alice = stage.hospital(coordinator.link.address)
    alice.link.send(SERVER.public, [b"upload", large(6 * MB)])
    alice.link.send(SERVER.public, [b"next"])
    settle([coordinator, alice], lambda: coordinator.messages and alice.all(Denied))
    assert coordinator.messages == [[b"next"]]
    [ours], [theirs] = coordinator.all(Violation), alice.all(Denied)
    assert f"{MB:,}" in ours.reason and f"{MB:,}" in theirs.reason


def test_garbage_is_an_event_and_no_more(stage):
    coordinator = stage.coordinator()
    alice = stage.hospital(coordinator.link.address)
    bob = stage.raw(coordinator.link.address, BOB)
    other_version = bytearray(encode(OPEN)[0])
    other_version[4] = 77
    for frames in (
        [b""],
        [b"GET / HTTP/1.1", b""],
        [bytes(other_version)],
        [encode(OPEN)[0], b"more"],
    ):
        bob.send_multipart(frames)
    settle([coordinator, alice], lambda: len(coordinator.all(Violation)) == 3)
    assert {event.peer for event in coordinator.all(Violation)} == {BOB.public}
    assert any("version 77" in event.reason for event in coordinator.all(Violation))
    assert bob.recv_multipart()[0][:4] == b"FLNK"  # a bye that every version understands
    bob.send_multipart(encode(OPEN))
    settle([coordinator, alice], lambda: Connected(BOB.public) in coordinator.events)
    bob.send(bytes(2 * MB))  # above MAXMSGSIZE: libzmq drops the connection before it is in memory
    settle([coordinator, alice], lambda: coordinator.all(Disconnected))
    alice.link.send(SERVER.public, [b"still here"])
    settle([coordinator, alice], lambda: coordinator.messages)


def test_a_peer_that_does_not_read_holds_up_nobody_and_fills_no_memory(stage):
    coordinator, frames = stage.coordinator(), [b"aggregate", large(40 * MB)]
    cable = Cable(coordinator.link.address)
    alice, bob = stage.hospital(cable.address), stage.hospital(coordinator.link.address, BOB)
    settle([coordinator, alice, bob], lambda: len(coordinator.all(Connected)) == 2)
    coordinator.link.send(ALICE.public, frames)
    coordinator.link.send(BOB.public, frames)
    settle([coordinator, bob], lambda: bob.messages)  # alice is not served
    assert cable.carried < 6 * MB  # one window
    settle([coordinator, alice], lambda: alice.messages == [frames])
    cable.close()


def test_a_dead_line_is_noticed_on_both_sides(stage, monkeypatch):
    monkeypatch.setattr(module, "HEARTBEAT_S", 1)
    monkeypatch.setattr(module, "DEAD_S", 1)
    coordinator = stage.coordinator()
    cable = Cable(coordinator.link.address)
    alice = stage.hospital(cable.address)
    settle([coordinator, alice], lambda: alice.all(Connected))
    cable.dead = True
    settle([coordinator, alice], lambda: coordinator.all(Disconnected) and alice.all(Disconnected))
    cable.close()


def test_whoever_cannot_connect_is_told_why(stage):
    coordinator = stage.coordinator()
    with (
        socket.create_server(("127.0.0.1", 0)) as web,
        socket.create_server(("127.0.0.1", 0)) as gone,
    ):
        closed_port = gone.getsockname()[1]
        gone.close()
        threading.Thread(target=_http, args=(web,), daemon=True).start()
        wrong_key = stage.hospital(coordinator.link.address, server=EVE.public)
        nobody = stage.hospital(f"127.0.0.1:{closed_port}")
        no_name = stage.hospital("no-such-host.invalid:5555")
        not_ours = stage.hospital(f"127.0.0.1:{web.getsockname()[1]}")
        lost = [wrong_key, nobody, no_name, not_ours]
        settle(
            [coordinator, *lost], lambda: all(party.events for party in lost) and coordinator.events
        )
        serve_for([coordinator, *lost], 1.0)
    assert [len(party.events) for party in lost] == [1, 1, 1, 1]  # said once, tried often
    assert "not the coordinator with the key" in wrong_key.all(Denied)[0].reason
    assert "nobody listens" in nobody.all(Disconnected)[0].reason
    assert "cannot be resolved" in no_name.all(Disconnected)[0].reason
    assert "is not this federation's coordinator" in not_ours.all(Denied)[0].reason
    assert "expects a coordinator with another key" in coordinator.all(Denied)[0].reason


def _http(listener: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while True:
            with listener.accept()[0] as browser:
                browser.recv(1)
                browser.sendall(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n" * 3)
