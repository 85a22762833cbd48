"""The bytes of every message, for tests/vectors/protocol/messages.json: two examples of each, one
with everything that may be absent and one without it.

A changed field needs a new protocol version: `unannounced` says which messages changed without one.
"""

from __future__ import annotations

from typing import Any

from msgspec import inspect

from federation.codec import PROTOCOL_VERSION, encode
from federation.messages import KINDS, Message


def messages() -> dict[str, Any]:
    """Return the version, and for each message its kind, its fields and its frames in hex."""
    ordered = sorted(KINDS.values(), key=lambda kind: kind.kind)
    return {
        "protocol_version": PROTOCOL_VERSION,
        "messages": {kind.__name__: _described(kind) for kind in ordered},
    }


def unannounced(before: dict[str, Any], after: dict[str, Any]) -> list[str]:
    """Return the messages that differ although both have the same protocol version."""
    if before["protocol_version"] != after["protocol_version"]:
        return []
    names = {*before["messages"], *after["messages"]}
    old, new = before["messages"], after["messages"]
    return sorted(name for name in names if old.get(name) != new.get(name))


def frames(message: Message) -> list[str]:
    """Return the frames of a message in hex."""
    return [bytes(frame).hex() for frame in encode(message)]


def _described(kind: type[Message]) -> dict[str, Any]:
    fields = [field for field in inspect.type_info(kind).fields]  # type: ignore[attr-defined]
    found: dict[str, Any] = {
        "kind": kind.kind,
        "fields": [field.name for field in fields],
        "frames": frames(_example(kind, absent=False)),
    }
    if any(isinstance(field.type, inspect.UnionType) for field in fields):
        found["frames_without_what_may_be_absent"] = frames(_example(kind, absent=True))
    return found


def _example(kind: type[Any], absent: bool) -> Any:
    """Each field gets a value that tells it from its neighbours: its place is in every byte."""
    values: dict[str, Any] = {}
    for place, field in enumerate(inspect.type_info(kind).fields, start=1):  # type: ignore[attr-defined]
        if field.name == "buffers":
            values["buffers"] = (bytes([place] * 3),) if kind.buffers_allowed else ()
        else:
            values[field.name] = _value(field.type, place, absent)
    return kind(**values)


def _value(kind: inspect.Type, place: int, absent: bool) -> Any:
    match kind:
        case inspect.IntType():
            return place
        case inspect.FloatType():
            return 0.5
        case inspect.BytesType():
            return bytes([place] * (kind.min_length or 0))
        case inspect.StrType():
            return "abc"
        case inspect.VarTupleType():
            return (_value(kind.item_type, place, absent),)
        case inspect.StructType():
            return _example(kind.cls, absent)
        case inspect.UnionType():
            (present,) = (one for one in kind.types if not isinstance(one, inspect.NoneType))
            return None if absent else _value(present, place, absent)
    raise TypeError(f"no example of {kind}")
