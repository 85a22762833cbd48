"""The link over real sockets on loopback."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Iterator

import pytest
import zmq

from federation.transport import sockets as module
from federation.transport.link import AddressError, Connected, Denied, Disconnected, Received
from federation.transport.packets import OPEN, Data, encode
from tests.federation.transport.loopback import (
    ALICE,
    BOB,
    EVE,
    MB,
    PATIENCE_S,
    SERVER,
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


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::1]"])
def test_messages_of_all_sizes_arrive_in_order_both_ways(stage, host):
    if host == "[::1]":
        try:
            socket.create_server(("::1", 0), family=socket.AF_INET6).close()
        except OSError:
            pytest.skip("this machine has no IPv6")
    coordinator = stage.coordinator(f"{'127.0.0.1' if host == 'localhost' else host}:0")
    alice = stage.hospital(f"{host}:{coordinator.link.address.rpartition(':')[2]}")
    sent = [[b"header", b"", large(), b"tail"], [b"one"], [b""], [b"two", b"x" * MB]]
    for frames in sent:
        assert alice.link.send(SERVER.public, frames)
        coordinator.link.send(ALICE.public, frames)  # waits until she is there
    settle(
        [coordinator, alice], lambda: len(coordinator.messages) == len(alice.messages) == len(sent)
    )
    assert coordinator.messages == alice.messages == sent
    assert {event.peer for event in coordinator.events} == {ALICE.public}
    assert all(
        isinstance(frame, bytes)
        for frames in alice.messages
        for frame in frames
        if len(frame) <= MB
    )
    assert len(coordinator.all(Connected)) == len(alice.all(Connected)) == 1


def test_a_key_that_is_not_admitted_gets_nothing_and_both_operators_are_told(stage):
    coordinator = stage.coordinator()
    eve = stage.hospital(coordinator.link.address, EVE)
    eve.link.send(SERVER.public, [b"let me in"])
    coordinator.link.send(EVE.public, [b"secret"])
    settle([coordinator, eve], lambda: coordinator.all(Denied) and eve.all(Denied))
    [told], [warned] = eve.all(Denied), coordinator.all(Denied)
    assert "does not admit this hospital" in told.reason and "flop roster add" in told.reason
    assert (
        warned.peer == EVE.public
        and EVE.public.hex() in warned.reason
        and "127.0.0.1" in warned.reason
    )
    stage.admitted.add(EVE.public)  # it goes on trying, so admitting it is enough
    settle([coordinator, eve], lambda: eve.messages)
    settle([coordinator, eve], lambda: coordinator.messages)
    assert len(eve.all(Denied)) == 1


def test_without_our_handler_nobody_gets_in(stage, monkeypatch):
    monkeypatch.setattr(module, "ZAP", "inproc://nobody.asks.here")
    coordinator = stage.coordinator()
    alice = stage.hospital(coordinator.link.address)
    alice.link.send(SERVER.public, [b"hello"])
    settle([coordinator, alice], lambda: coordinator.all(Denied))
    serve_for([coordinator, alice], 0.5)
    assert not coordinator.all(Connected) and not coordinator.messages and not alice.all(Connected)


def test_a_forged_routing_id_changes_nothing(stage):
    coordinator = stage.coordinator()
    alice = stage.hospital(coordinator.link.address)
    settle([coordinator, alice], lambda: coordinator.all(Connected))
    [(_, (hers,))] = coordinator.link._reception.routes()
    forgers = [
        stage.raw(coordinator.link.address, BOB, routing_id)
        for routing_id in (b"alice", ALICE.public)
    ]
    # libzmq may refuse to send such an id; if not, the other side must
    with contextlib.suppress(zmq.ZMQError):
        forgers.append(stage.raw(coordinator.link.address, BOB, hers))
    for forger in forgers:
        forger.send_multipart(encode(OPEN))
        forger.send_multipart(encode(Data(b"12345678", False, 0, 0, 0, (3,), (b"bob",))))
    coordinator.link.send(ALICE.public, [b"for alice"])
    settle([coordinator, alice], lambda: coordinator.messages and alice.messages)
    serve_for([coordinator, alice], 0.3)
    assert {event.peer for event in coordinator.all(Received)} == {BOB.public}
    assert alice.messages == [[b"for alice"]]
    assert len(alice.all(Connected)) == 1 and ALICE.public not in [
        e.peer for e in coordinator.all(Disconnected)
    ]


def test_whoever_leaves_the_roster_is_cut_off_at_once(stage):
    coordinator = stage.coordinator()
    alice = stage.hospital(coordinator.link.address)
    settle([coordinator, alice], lambda: alice.all(Connected))
    stage.admitted.discard(ALICE.public)
    alice.link.send(SERVER.public, [b"too late"])
    settle([coordinator, alice], lambda: alice.all(Denied) and coordinator.all(Disconnected))
    assert not coordinator.messages and "roster" in alice.all(Denied)[0].reason


def test_what_waits_is_bounded_and_can_be_forgotten(stage):
    coordinator = stage.coordinator()
    assert [coordinator.link.send(ALICE.public, [b"%d" % n]) for n in range(65)] == [True] * 64 + [
        False
    ]
    assert len([e for e in coordinator.link.poll(0) if isinstance(e, Denied)]) == 1
    coordinator.link.forget(ALICE.public)
    coordinator.link.send(ALICE.public, [b"fresh"])
    alice = stage.hospital(coordinator.link.address)
    settle([coordinator, alice], lambda: alice.messages)
    coordinator.link.forget(ALICE.public)  # while connected: a new stream
    coordinator.link.send(ALICE.public, [b"again"])
    settle([coordinator, alice], lambda: len(alice.messages) == 2)
    assert alice.messages == [[b"fresh"], [b"again"]]


def test_the_tap_sees_every_decrypted_frame(stage):
    taps: dict[str, bytearray] = {"in": bytearray(), "out": bytearray()}
    frames, peers = [b"needle one", large(3 * MB)], set()

    def tap(direction: str, peer: bytes, packet: list) -> None:
        peers.add(peer)
        for frame in packet[1:]:
            taps[direction] += frame

    coordinator = stage.coordinator(tap=tap)
    alice = stage.hospital(coordinator.link.address)
    alice.link.send(SERVER.public, frames)
    coordinator.link.send(ALICE.public, [b"needle two"])
    settle([coordinator, alice], lambda: coordinator.messages and alice.messages)
    assert taps == {"in": b"".join(frames), "out": b"needle two"} and peers == {ALICE.public}


def test_wake_ends_a_poll_from_another_thread(stage):
    coordinator, end = stage.coordinator(), time.monotonic() + PATIENCE_S
    coordinator.link.wake()  # before the poll: it is not lost
    sleeper = threading.Thread(
        target=lambda: [coordinator.link.poll(3600) for _ in range(2)], daemon=True
    )
    sleeper.start()
    while sleeper.is_alive() and time.monotonic() < end:
        time.sleep(0.05)
        coordinator.link.wake()
    assert not sleeper.is_alive()


def test_a_link_belongs_to_one_thread(stage):
    coordinator, caught = stage.coordinator(), []
    coordinator.link.poll(0)

    def other() -> None:
        try:
            coordinator.link.send(ALICE.public, [b"x"])
        except RuntimeError as error:
            caught.append(error)

    thread = threading.Thread(target=other)
    thread.start()
    thread.join()
    assert len(caught) == 1


def test_closing_waits_until_the_peer_has_the_last_message(stage):
    coordinator = stage.coordinator()
    alice = stage.hospital(coordinator.link.address)
    settle([coordinator, alice], lambda: alice.all(Connected))
    coordinator.link.send(ALICE.public, [b"goodbye", large(9 * MB)])
    thread = threading.Thread(target=coordinator.link.close, args=(PATIENCE_S,))
    thread.start()
    settle([alice], lambda: alice.messages)
    thread.join()
    assert alice.messages == [[b"goodbye", large(9 * MB)]]


def test_an_address_that_is_taken_is_one_sentence(stage):
    coordinator = stage.coordinator()
    with pytest.raises(AddressError, match=r"cannot listen at.*in use"):
        stage.coordinator(coordinator.link.address)
    with pytest.raises(AddressError, match="listen"):
        stage.hospital("*:5555")


def test_keys_do_not_show_their_secret():
    assert len(ALICE.public) == len(ALICE.secret) == 32
    assert repr(ALICE.secret) not in repr(ALICE)
