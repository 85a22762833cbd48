"""Who is connected, and what the operator is told, without sockets and with a clock of our own."""

from __future__ import annotations

from federation.transport.dialling import Dialling
from federation.transport.events import Connected, Received
from federation.transport.packets import OPEN, Data, encode
from federation.transport.reception import Reception

MB = 1 << 20
ALICE, SERVER = b"a" * 32, b"s" * 32


def test_what_arrives_while_closing_is_not_acknowledged():
    reception = Reception(lambda peer: True, lambda peer: MB)
    chunk = encode(Data(b"12345678", False, 0, 0, 0, (1,), (b"x",)))
    reception.receive(ALICE, (b"route",), 5, encode(OPEN), 0.0)
    reception.closing = True
    reception.receive(ALICE, (b"route",), 5, chunk, 0.0)
    assert reception.conversation(ALICE).next_packet() is None
    assert reception.announcements.take() == [Connected(ALICE)]


def test_packets_of_a_replaced_connection_are_dropped_and_its_end_changes_nothing():
    reception = Reception(lambda peer: True, lambda peer: MB)
    chunk = encode(Data(b"12345678", False, 0, 0, 0, (1,), (b"x",)))
    reception.receive(ALICE, (b"old",), 5, encode(OPEN), 0.0)
    reception.receive(ALICE, (b"new",), 6, encode(OPEN), 0.0)
    reception.announcements.take()
    reception.receive(ALICE, (b"old",), 5, chunk, 0.0)
    reception.hung_up(5)
    assert reception.announcements.take() == [] and reception.routes() == [(ALICE, (b"new",))]
    reception.receive(ALICE, (b"new",), 6, chunk, 0.0)
    assert reception.announcements.take() == [Received(ALICE, [b"x"])]


def test_a_silent_peer_is_asked_only_while_something_is_under_way():
    reception = Reception(lambda peer: True, lambda peer: MB)
    reception.receive(ALICE, (b"route",), 5, encode(OPEN), 100.0)
    assert reception.probes(200.0) == []
    conversation = reception.conversation(ALICE)
    conversation.send([b"are you there"], False)
    conversation.sent(conversation.next_packet())
    assert reception.probes(209.0) == []
    assert len(reception.probes(211.0)) == 1
    assert reception.probes(212.0) == []


def test_a_hospital_whose_coordinator_is_silent_is_told():
    dialling = Dialling("tcp://hub:5555", ALICE, SERVER, lambda peer: MB, 0.0)
    dialling.tick(8.0)
    dialling.connected(10.0)
    dialling.secured(10.0)
    dialling.tick(10.0)
    assert dialling.signals == {(SERVER, ()): OPEN}
    dialling.tick(20.0)
    first, second = dialling.announcements.take()
    assert "DNS" in first.reason and "does not answer" in second.reason
