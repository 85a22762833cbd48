"""Addresses as people write them."""

from __future__ import annotations

import pytest

from federation.transport.address import AddressError, parse_address


@pytest.mark.parametrize(
    ("text", "endpoint"),
    [
        ("127.0.0.1:5555", "tcp://127.0.0.1:5555"),
        ("tcp://hub.example.org:5555", "tcp://hub.example.org:5555"),
        (" hub-1:80 ", "tcp://hub-1:80"),
        ("[2001:db8::7]:5555", "tcp://[2001:db8::7]:5555"),
        ("*:0", "tcp://*:0"),
    ],
)
def test_addresses_that_people_write(text, endpoint):
    assert parse_address(text) == endpoint


@pytest.mark.parametrize(
    "text",
    [
        "",
        "hub",
        "hub:",
        ":5555",
        "hub:x",
        "hub:70000",
        "http://hub:80",
        "ipc:///tmp/x",
        "::1:5555",
        "[::g]:1",
        "1.2.3.456:1",
        "a b:1",
    ],
)
def test_addresses_that_cannot_be_read(text):
    with pytest.raises(AddressError, match="host"):
        parse_address(text)
