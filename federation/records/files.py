"""Reading and writing the records of a run directory, and their JSON Schema.

Unknown keys are ignored when a file is read, so that an older program reads a newer run. On disk
the metrics of a `Measured` record stand beside its other keys:

    Figures(examples=2, …, metrics={"accuracy": 0.5})    <->    {"examples": 2, …, "accuracy": 0.5}
"""

from __future__ import annotations

from collections.abc import Sequence
from inspect import cleandoc
from pathlib import Path
from typing import Any, TypeVar, cast

import msgspec
from msgspec import inspect

from federation.errors import ConfigError
from federation.files import write_whole
from federation.records.events import Event
from federation.records.summary import AnySummary, Measured

T = TypeVar("T")
METRICS = "metrics"


def encode(record: msgspec.Struct) -> bytes:
    """One line of JSON; a number that is not finite becomes null."""
    return msgspec.json.format(msgspec.json.encode(to_dict(record)), indent=0)


def to_dict(record: msgspec.Struct) -> dict[str, Any]:
    """What is on disk, as plain objects."""
    return dict(_spread(msgspec.to_builtins(record)))


def decode(content: bytes | str, kind: type[T]) -> T:
    """The record of type `kind`.

    Raises:
        msgspec.ValidationError: If it is JSON, but not such a record.
        msgspec.DecodeError: If it is not JSON.
    """
    return from_dict(msgspec.json.decode(content), kind)


def from_dict(value: Any, kind: type[T]) -> T:
    """The inverse of `to_dict`. Raises msgspec.ValidationError."""
    return msgspec.convert(_gather(value, inspect.type_info(kind)), kind)


def write(path: Path, record: msgspec.Struct, *, durable: bool = False) -> None:
    """Replace `path` completely or not at all; if `durable`, it is on the disk on return."""
    write_whole(path, msgspec.json.format(encode(record), indent=1) + b"\n", durable=durable)


def append(path: Path, record: msgspec.Struct) -> None:
    """Add one line to a JSON-lines file, also after a line that a kill cut off."""
    with path.open("ab+") as file:
        if file.tell():
            file.seek(-1, 2)
            if file.read(1) != b"\n":
                file.write(b"\n")
        file.write(encode(record) + b"\n")


def write_lines(path: Path, records: Sequence[msgspec.Struct]) -> None:
    """Replace a JSON-lines file completely or not at all."""
    write_whole(path, b"".join(encode(record) + b"\n" for record in records))


def read(path: Path, kind: type[T]) -> T:
    """The record in a file. Raises ConfigError if it is missing or damaged."""
    try:
        return decode(path.read_bytes(), kind)
    except FileNotFoundError:
        raise ConfigError(f"{path}: does not exist") from None
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from None
    except msgspec.ValidationError as error:
        raise ConfigError(f"{path}: is not a valid {_name(kind)}: {error}") from None
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise ConfigError(
            f"{path}: is not valid JSON; the run that wrote it may have been killed while writing"
        ) from None


def read_lines(path: Path, kind: type[T]) -> list[T]:
    """The records of a JSON-lines file; none if there is no such file.

    A line that a kill cut off is left out. Raises ConfigError, with the line's number, if a
    complete line is not such a record.
    """
    found = []
    lines = path.read_bytes().splitlines() if path.exists() else []
    for number, line in enumerate(lines, 1):
        try:
            found.append(decode(line, kind))
        except msgspec.ValidationError as error:
            raise ConfigError(
                f"{path}, line {number}: is not a valid {_name(kind)}: {error}"
            ) from None
        except (msgspec.DecodeError, UnicodeDecodeError):
            continue
    return found


def read_summary(path: Path) -> AnySummary:
    """Whose summary.json it is, its `kind` tells. Raises ConfigError."""
    return read(path, cast(type[AnySummary], AnySummary))


def read_events(path: Path) -> list[Event]:
    """The lines of events.jsonl; none if there is no such file. Raises ConfigError."""
    return read_lines(path, cast(type[Event], Event))


def schema(kind: Any) -> dict[str, Any]:
    """The JSON Schema of what is on disk."""
    found = msgspec.json.schema(kind)
    for part in found.get("$defs", {}).values():
        part["description"] = cleandoc(part.get("description", ""))
        measures = part.get("properties", {}).pop(METRICS, None)
        if measures is not None:
            part["additionalProperties"] = measures["additionalProperties"]
    return found


def _spread(value: Any) -> Any:
    """`value` with every `metrics` replaced by keys beside it."""
    if isinstance(value, dict):
        own = {key: _spread(part) for key, part in value.items() if key != METRICS}
        return own | value.get(METRICS, {})
    return [_spread(part) for part in value] if isinstance(value, list | tuple) else value


def _gather(value: Any, kind: inspect.Type) -> Any:
    """The inverse of `_spread`, given the type that `value` is to become."""
    match kind:
        case inspect.UnionType(types=types):
            return _gather(value, _chosen(value, types))
        case inspect.StructType(cls=cls, fields=fields) if isinstance(value, dict):
            known = {field.encode_name: field.type for field in fields}
            own = {key: _gather(part, known[key]) for key, part in value.items() if key in known}
            if kind.tag_field is not None and kind.tag_field in value:
                own[kind.tag_field] = value[kind.tag_field]
            if issubclass(cls, Measured):
                own[METRICS] = {key: part for key, part in value.items() if key not in known}
            return own
        case inspect.DictType(value_type=inner) if isinstance(value, dict):
            return {key: _gather(part, inner) for key, part in value.items()}
        case inspect.ListType(item_type=inner) if isinstance(value, list):
            return [_gather(part, inner) for part in value]
    return value


def _chosen(value: Any, types: Sequence[inspect.Type]) -> inspect.Type:
    """The type of a union that `value` is of: by its tag, or the only one that is a Struct."""
    structs = [kind for kind in types if isinstance(kind, inspect.StructType)]
    for kind in structs:
        if isinstance(value, dict) and kind.tag_field and value.get(kind.tag_field) == kind.tag:
            return kind
    return structs[0] if structs else types[0]


def _name(kind: Any) -> str:
    return kind.__name__ if isinstance(kind, type) else "record of this kind"
