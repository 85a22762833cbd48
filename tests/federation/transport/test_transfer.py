"""Chunks and acknowledgements over a pipe that loses, repeats and reorders; malformed headers."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from federation.transport import packets
from federation.transport.conversation import Conversation, TooLong
from federation.transport.packets import (
    Ack,
    Data,
    MalformedPacket,
    Nack,
    Probe,
    WrongVersion,
    decode,
    encode,
)
from federation.transport.transfer import Inbox, Outbox

ROOM = 1 << 20
message = st.lists(st.binary(max_size=40), min_size=1, max_size=4)


def over_the_wire(packet: packets.Packet) -> packets.Packet:
    return decode([memoryview(frame) for frame in encode(packet)])


def send_all(outbox: Outbox) -> list[Data]:
    sent = []
    while (chunk := outbox.next_chunk()) is not None:
        outbox.sent(chunk)
        arrived = over_the_wire(chunk)
        assert isinstance(arrived, Data)
        sent.append(arrived)
    return sent


@settings(deadline=None, max_examples=150)
@given(
    data=st.data(),
    messages=st.lists(message, max_size=6),
    chunk=st.integers(1, 50),
    window=st.integers(1, 5),
)
def test_every_message_arrives_once_and_in_order_whatever_the_pipe_does(
    data, messages, chunk, window
):
    outbox, inbox, delivered = Outbox(chunk=chunk, window=window), Inbox(), []
    for frames in messages:
        assert outbox.add(frames)
    for step in itertools.count():
        if not len(outbox):
            break
        if step < 30:  # the pipe may do what it likes for a while, and then behaves
            under_way = data.draw(st.permutations(send_all(outbox)))
            copies = [data.draw(st.sampled_from([0, 1, 1, 1, 2])) for _ in under_way]
        else:
            under_way = send_all(outbox)
            copies = [1] * len(under_way)
        for packet, times in zip(under_way, copies, strict=True):
            for _ in range(times):
                got, answer = inbox.receive(packet, ROOM)
                if got is not None:
                    delivered.append(got)
                if answer is not None and (step >= 30 or data.draw(st.booleans())):
                    outbox.acknowledge(over_the_wire(answer))
        if step < 30 and data.draw(st.booleans()):
            outbox.rewind()
            inbox.reconnected()
        elif outbox.waits:
            outbox.acknowledge(inbox.answer(over_the_wire(outbox.probe())))
        assert step < 1000, "no progress"
    assert delivered == messages


@settings(deadline=None, max_examples=60)
@given(
    messages=st.lists(message, min_size=1, max_size=5),
    chunk=st.integers(1, 30),
    cut=st.integers(0, 12),
)
def test_a_restarted_receiver_gets_everything_that_was_not_acknowledged(messages, chunk, cut):
    outbox, inbox, delivered = Outbox(chunk=chunk), Inbox(), []
    for frames in messages:
        outbox.add(frames)
    stale: list[Data] = []
    for step in itertools.count():
        if not len(outbox):
            break
        # the receiver forgets all; packets that were under way still reach the new one
        if step == cut:
            inbox, stale = Inbox(), send_all(outbox)
            outbox.rewind()
        for packet in [*stale, *send_all(outbox)]:
            got, answer = inbox.receive(packet, ROOM)
            if got is not None:
                delivered.append(got)
            if answer is not None:
                outbox.acknowledge(answer)
        stale = []
        assert step < 1000, "no progress"
    assert delivered == messages


@settings(deadline=None, max_examples=100)
@given(
    frames=st.lists(st.binary(max_size=60), max_size=4),
    at=st.integers(0, 200),
    value=st.integers(0, 255),
)
def test_a_malformed_packet_is_refused_and_nothing_else_happens(frames, at, value):
    good = encode(Data(b"x" * 8, False, 0, 0, 0, (3, 4), (b"abcdefg",)))
    header = bytearray(good[0])
    header[at % len(header)] = value
    for packet in (
        frames,
        [bytes(header), *good[1:]],
        [good[0][: at % 60], *good[1:]],
        [*good, *frames],
    ):
        conversation = Conversation()
        try:
            outcome = conversation.receive(decode([memoryview(frame) for frame in packet]), ROOM)
        except MalformedPacket:
            continue
        assert outcome is None or isinstance(outcome, TooLong) or len(outcome) in (1, 2)


@pytest.mark.parametrize(
    "packet",
    [
        packets.OPEN,
        packets.CLOSED_REMOVED,
        Data(b"12345678", True, 3, 5, 0, (1, 0, 2), (b"abc",)),
        Data(b"12345678", False, 3, 5, 9, (), (b"abc", b"d")),
        Ack(b"12345678", False, 2**63 - 1, 2**40, True),
        Nack(b"12345678", True, 7, 10**9),
        Probe(b"12345678", False, 6, 7, 8),
    ],
)
def test_packets_survive_the_wire(packet):
    assert over_the_wire(packet) == packet


@pytest.mark.parametrize(
    ("frames", "why"),
    [
        ([], "not a packet"),
        ([b""], "not a packet"),
        ([b"GET / HTTP/1.1"], "not a packet"),
        ([encode(packets.OPEN)[0] + b"x"], "length"),
        ([*encode(packets.OPEN), b"x"], "has data"),
        ([*encode(Ack(b"12345678", False, 0, 0)), b"x"], "has data"),
        ([encode(Ack(b"12345678", False, 0, 0))[0][:-1]], "length"),
        (encode(Data(b"12345678", False, 0, 0, 0, (), (b"x",))), "contradicts"),  # no sizes
        # sizes in the middle
        (encode(Data(b"12345678", False, 0, 0, 5, (9,), (b"x",))), "contradicts"),
        # settled, and sent
        (encode(Data(b"12345678", False, 2, 1, 0, (1,), (b"x",))), "contradicts"),
        (
            encode(Data(b"12345678", False, 0, 0, 0, (1,) * (packets.MAX_FRAMES + 1), (b"x",))),
            "length",
        ),
        (
            [
                encode(Ack(b"12345678", False, 0, 0))[0][:5]
                + b"\x63"
                + encode(Ack(b"12345678", False, 0, 0))[0][6:]
            ],
            "unknown",
        ),
    ],
)
def test_what_is_wrong_is_named(frames, why):
    with pytest.raises(MalformedPacket, match=why):
        decode(frames)


@pytest.mark.parametrize("number", [2**63, 2**64 - 1])
def test_a_message_after_which_no_other_could_be_counted_is_refused(number):
    """Its acknowledgement would not fit the field: the receiver would fall over it."""
    for packet in (
        Data(b"12345678", False, number, number, 0, (1,), (b"x",)),
        Probe(b"12345678", False, number, number, 0),
        Ack(b"12345678", False, number, 0),
    ):
        with pytest.raises(MalformedPacket, match="beyond"):
            decode(encode(packet))
    conversation = Conversation()
    last = decode(encode(Data(b"12345678", False, 2**63 - 1, 2**63 - 1, 0, (1,), (b"x",))))
    assert conversation.receive(last, ROOM) == [b"x"]
    assert encode(conversation.next_packet())


def test_a_model_of_fifty_million_parameters_in_ciphertexts_is_one_message():
    frames = [b"header", b"body", *([b"ciphertext"] * 12_000)]
    outbox, inbox = Outbox(), Inbox()
    assert outbox.add(frames)
    [chunk] = send_all(outbox)
    assert inbox.receive(chunk, ROOM)[0] == frames


def test_another_version_is_named():
    header = bytearray(encode(packets.OPEN)[0])
    header[4] = 9
    with pytest.raises(WrongVersion, match="version 9"):
        decode([header])


def test_nothing_is_set_aside_before_the_size_is_allowed():
    inbox = Inbox()
    chunk = Data(b"12345678", False, 0, 0, 0, (2**60,), (b"x",))
    assert inbox.receive(chunk, ROOM) == (None, Nack(b"12345678", False, 0, ROOM))
    assert inbox.held == 0


def test_a_refused_message_is_withdrawn_and_the_next_one_arrives():
    sender, receiver = Conversation(), Conversation()
    sender.send([bytes(3000)], False)
    sender.send([b"small"], False)
    seen = []
    for _ in range(6):
        for source, sink in ((sender, receiver), (receiver, sender)):
            while (packet := source.next_packet()) is not None:
                source.sent(packet)
                outcome = sink.receive(over_the_wire(packet), 2000)
                if outcome is not None:
                    seen.append(outcome)
    assert seen == [
        TooLong(3000, 2000, ours=False),
        [b"small"],
        TooLong(3000, 2000, ours=True),
    ] or seen == [
        TooLong(3000, 2000, ours=False),
        TooLong(3000, 2000, ours=True),
        [b"small"],
    ]
    assert not sender.pending


def test_a_limit_that_falls_ends_a_message_in_the_middle():
    outbox, inbox = Outbox(chunk=10, window=1), Inbox()
    outbox.add([bytes(100)])
    [first] = send_all(outbox)
    outbox.acknowledge(inbox.receive(first, 100)[1])
    assert inbox.held == 100
    [second] = send_all(outbox)
    _, answer = inbox.receive(second, 99)
    assert (answer, inbox.held) == (Nack(outbox.stream, False, 0, 99), 0)
    assert outbox.refuse(answer) == 100
    assert not len(outbox)


def test_both_lanes_together_stay_below_the_limit():
    receiver = Conversation()
    begin = Data(b"12345678", False, 0, 0, 0, (60,), (b"x",))
    assert receiver.receive(begin, 100) is None
    urgent = Data(b"87654321", True, 0, 0, 0, (41,), (b"x",))
    assert receiver.receive(urgent, 100) == TooLong(41, 40, ours=False)


def test_more_bytes_than_announced_are_refused_and_the_rest_can_still_come():
    inbox = Inbox()
    inbox.receive(Data(b"12345678", False, 0, 0, 0, (4, 2), (b"abc",)), ROOM)
    with pytest.raises(MalformedPacket, match="announced"):
        inbox.receive(Data(b"12345678", False, 0, 0, 3, (), (b"defg",)), ROOM)
    with pytest.raises(MalformedPacket, match="empty"):
        inbox.receive(Data(b"12345678", False, 0, 0, 3, (), ()), ROOM)
    assert inbox.receive(Data(b"12345678", False, 0, 0, 3, (), (b"d", b"ef")), ROOM)[0] == [
        b"abcd",
        b"ef",
    ]


def test_a_probe_asks_for_what_is_missing_and_for_nothing_else():
    outbox, inbox = Outbox(chunk=10, window=4), Inbox()
    outbox.add([bytes(100)])
    *arrived, _lost = send_all(outbox)
    for chunk in arrived:
        inbox.receive(chunk, ROOM)
    answer = inbox.answer(outbox.probe())
    assert (answer.offset, answer.rewind) == (30, True)
    outbox.acknowledge(answer)
    for chunk in send_all(outbox):
        inbox.receive(chunk, ROOM)
    # a slow line: all is there, only the answers are late
    assert not inbox.answer(outbox.probe()).rewind


def test_acknowledging_what_was_never_sent_is_malformed():
    outbox = Outbox()
    outbox.add([b"abc"])
    send_all(outbox)
    for ack in (
        Ack(outbox.stream, False, 1, 1),
        Ack(outbox.stream, False, 7, 0),
        Ack(outbox.stream, False, 0, 3),
    ):
        with pytest.raises(MalformedPacket):
            outbox.acknowledge(ack)
    with pytest.raises(MalformedPacket):
        outbox.refuse(Nack(outbox.stream, False, 1, 0))
    assert len(outbox) == 1


def test_urgent_messages_overtake_and_the_window_bounds_what_is_under_way():
    conversation = Conversation()
    conversation.send([bytes(10 << 20)], False)
    conversation.send([b"stop"], True)
    first = conversation.next_packet()
    assert isinstance(first, Data) and first.urgent
    conversation.sent(first)
    under_way = 0
    while (packet := conversation.next_packet()) is not None:
        conversation.sent(packet)
        under_way += 1
    assert under_way == 4


def test_large_frames_are_neither_copied_on_the_way_out_nor_twice_on_the_way_in():
    frame = bytearray(3 << 20)
    outbox, inbox = Outbox(window=9), Inbox()
    outbox.add([b"header", frame])
    chunks = send_all(outbox)
    large = [part for chunk in chunks for part in chunk.parts if len(part) > 1000]
    assert len(large) == 3 and all(part.obj is frame for part in large)
    [received] = [got for chunk in chunks if (got := inbox.receive(chunk, 4 << 20)[0])]
    assert received[0] == b"header" and received[1] == frame and received[1].readonly


def test_an_outbox_is_bounded_and_forgetting_empties_it():
    conversation = Conversation()
    assert [conversation.send([b"x"], False) for _ in range(65)] == [True] * 64 + [False]
    conversation.forget()
    assert not conversation.pending
    assert conversation.next_packet() is None
    with pytest.raises(ValueError, match="frames"):
        conversation.send([], False)
