"""Addresses as people write them, and why nobody answers at one. Only the standard library; no
protocol.
"""

from __future__ import annotations

import re
import socket
from dataclasses import dataclass

_ADDRESS = re.compile(
    r"(?:tcp://)?(?P<host>\[[0-9A-Fa-f:.]+(?:%\w+)?\]|\*|[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9.])?):(?P<port>\d{1,5})"
)


class AddressError(ValueError):
    """An address that cannot be read, or that cannot be listened at."""

    exit_code = 2


@dataclass(frozen=True)
class Diagnosis:
    """`reason`: a sentence, None if a TCP connection succeeds; `ipv6`: what the host has answered,
    or is written, in.
    """

    reason: str | None
    ipv6: bool


def parse_address(text: str) -> str:
    """The ZeroMQ endpoint of `host:port` or `tcp://host:port`; the host is a name, an IPv4 address,
    or [IPv6].

    For listening also `*` and port 0 (any free one). Raises AddressError with one sentence.
    """
    match = _ADDRESS.fullmatch(text.strip())
    if match is None or int(match["port"]) > 65535:
        examples = "coordinator.example.org:5555, 192.0.2.7:5555 or [2001:db8::7]:5555"
        raise AddressError(
            f"the address {text!r} is not of the form host:port; write for example {examples}"
        )
    host = match["host"]
    if host.startswith("["):
        _check_ip(socket.AF_INET6, host[1:-1].split("%")[0], text)
    elif re.fullmatch(r"[\d.]+", host):
        _check_ip(socket.AF_INET, host, text)
    return f"tcp://{host}:{int(match['port'])}"


def split_endpoint(endpoint: str) -> tuple[str, int]:
    """Host (without brackets) and port of what `parse_address` gave."""
    host, _, port = endpoint.removeprefix("tcp://").rpartition(":")
    return host.strip("[]"), int(port)


def diagnose(endpoint: str, timeout_s: float = 3.0) -> Diagnosis:
    """Look the name up and try to connect, each address in turn; blocks for `timeout_s` and the
    time of the look-up.
    """
    host, port = split_endpoint(endpoint)
    shown = endpoint.removeprefix("tcp://")
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        return Diagnosis(
            f"the host name {host!r} cannot be resolved: check its spelling and this machine's DNS,"
            " or write the IP address",
            ipv6=False,
        )
    why: OSError = TimeoutError()
    for family, _, _, _, where in found[:4]:
        try:
            with socket.create_connection((str(where[0]), port), timeout_s / len(found[:4])):
                return Diagnosis(None, ipv6=family == socket.AF_INET6)
        except OSError as error:
            why = error
    v6 = found[0][0] == socket.AF_INET6
    if isinstance(why, ConnectionRefusedError):
        hint = "is the coordinator started, and is this the port it listens at?"
        return Diagnosis(f"nobody listens at {shown} (connection refused): {hint}", v6)
    if isinstance(why, TimeoutError):
        return Diagnosis(
            f"{shown} does not answer: a firewall may drop the packets, or the address is wrong", v6
        )
    return Diagnosis(
        f"{shown} cannot be reached ({why.strerror or why}): check the address and this machine's"
        " network",
        v6,
    )


def _check_ip(family: int, host: str, text: str) -> None:
    try:
        socket.inet_pton(family, host)
    except OSError:
        raise AddressError(
            f"the address {text!r} has a host that is not a valid IP address: {host!r}"
        ) from None
