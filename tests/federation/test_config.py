"""federation.toml: every key counts in the digest; every mistake is one sentence that names the
file, the key and the fix.
"""

from __future__ import annotations

import typing
from pathlib import Path
from typing import Any

import msgspec
import pytest
from msgspec import inspect

from federation import config as federation_config
from federation.config import (
    FederationConfig,
    decode_toml,
    default_threshold,
    read,
    to_toml,
    validate,
)
from federation.errors import ConfigError
from tests import rig

BASE = rig.config("masked", 5)
TABLES = {field.name: field.type.cls for field in inspect.type_info(FederationConfig).fields}  # type: ignore[attr-defined]
KEYS = [(table, field) for table, cls in TABLES.items() for field in inspect.type_info(cls).fields]
every_key = pytest.mark.parametrize(
    ("table", "field"), KEYS, ids=[f"{table}.{field.name}" for table, field in KEYS]
)


def another(kind: inspect.Type, old: Any) -> Any:
    """A value of this type that is not the old one."""
    match kind:
        case inspect.Metadata():
            return another(kind.type, old)
        case inspect.LiteralType():
            return next(value for value in kind.values if value != old)
        case inspect.BoolType():
            return not old
        case inspect.IntType():
            return old + 1
        case inspect.FloatType():
            return old / 2 if old else 0.25
        case inspect.StrType():
            return "f" * len(old) if kind.pattern else old + "x"
        case inspect.VarTupleType():
            return (*old, "another")
    raise TypeError(f"{kind}: say here what another value is")


def toml(changes: dict[str, Any]) -> bytes:
    """BASE with `changes` ("table.key" → value) as a file."""
    tables = msgspec.to_builtins(BASE)
    for key, value in changes.items():
        table, _, name = key.partition(".")
        if name:
            tables[table][name] = value
        else:
            tables[table] = value
    return federation_config.tomli_w.dumps(tables).encode()


def parse(changes: dict[str, Any]) -> FederationConfig:
    return validate(decode_toml(toml(changes), FederationConfig, "f.toml"), "f.toml")


@every_key
def test_the_digest_changes_with_every_key(table: str, field: inspect.Field) -> None:
    old = getattr(BASE, table)
    changed = msgspec.structs.replace(
        old, **{field.name: another(field.type, getattr(old, field.name))}
    )
    assert msgspec.structs.replace(BASE, **{table: changed}).digest != BASE.digest


@every_key
def test_a_wrong_type_is_refused_by_file_and_key(table: str, field: inspect.Field) -> None:
    with pytest.raises(ConfigError, match=rf"^f\.toml: {table}\.{field.name}: "):
        parse({f"{table}.{field.name}": {"a": 1}})


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), float("-inf"), -1.0])
@pytest.mark.parametrize(
    "key",
    [f"{table}.{field.name}" for table, field in KEYS if isinstance(field.type, inspect.FloatType)],
)
def test_no_number_is_infinite_or_negative(key: str, bad: float) -> None:
    with pytest.raises(ConfigError, match=rf"^f\.toml: {key}: Expected `float`"):
        parse({key: bad})


@pytest.mark.parametrize("table", [*TABLES, ""])
def test_an_unknown_key_is_named(table: str) -> None:
    with pytest.raises(ConfigError, match=rf"^f\.toml: {table or 'top level'}: .*`colour`"):
        parse({f"{table}.colour" if table else "colour": 1})


def test_the_digest_is_of_the_values_and_not_of_the_text() -> None:
    assert (
        parse({"federation.beta": 1}).digest
        == parse({"federation.beta": 1.0}).digest
        == BASE.digest
    )
    shuffled = b"\n".join(reversed(toml({}).replace(b"\n[", b"\0[").split(b"\0")))
    assert decode_toml(shuffled, FederationConfig, "f.toml") == BASE


@pytest.mark.parametrize(
    ("changes", "key", "words"),
    [
        (
            {"federation.min_cohort": 6},
            "federation.min_cohort",
            "6 is more than the cohort of 5; lower it",
        ),
        ({"protection.threshold": 6}, "protection.threshold", "6 is more than the cohort of 5"),
        (
            {"protection.threshold": 2},
            "protection.threshold",
            "must be more than half of the cohort of 5",
        ),
        (
            {"protection.threshold": 2, "protection.kind": "masked+ckks"},
            "protection.threshold",
            "more than half",
        ),
        ({"protection.bits": 0}, "protection.bits", "goes only with kind = 'plain'"),
        (
            {"protection.bits": 0, "protection.kind": "ckks"},
            "protection.bits",
            "goes only with kind = 'plain'",
        ),
        ({"protection.bits": 1}, "protection.bits", "between 2 and the ring's 16"),
        ({"protection.bits": 17}, "protection.bits", "between 2 and the ring's 16"),
        (
            {"protection.bits": 14},
            "protection.ring",
            "need a ring of 17 bits, not 16; take a wider ring or fewer bits",
        ),
        (
            {"federation.cohort": 17},
            "protection.ring",
            "12 bits and a cohort of 17 need a ring of 17 bits",
        ),
        ({"model.classes": ["a", "a"]}, "model.classes", "a class is named twice"),
        ({"model.classes": ["a"]}, "model.classes", ">= 2"),
        ({"model.start_digest": "zz"}, "model.start_digest", "matching regex"),
        (
            {"model.private": ["x"], "federation.algorithm": "fedavg"},
            "model.private",
            "shares every layer; remove the patterns",
        ),
        (
            {"federation.algorithm": "fedsgd"},
            "federation.algorithm",
            "Invalid enum value 'fedsgd'; it is one of fedavg, flop",
        ),
        (
            {"training.epoch": 2},
            "training",
            "unknown field `epoch`; the keys here are epochs, batch_size",
        ),
        ({"federation.rounds": 0}, "federation.rounds", "Expected `int` >= 1"),
        ({"protection.ring": 48}, "protection.ring", "Invalid enum value 48"),
        ({"training.momentum": 1.0}, "training.momentum", "Expected `float` < 1.0"),
    ],
)
def test_what_makes_no_sense_is_refused_with_the_fix(
    changes: dict[str, Any], key: str, words: str
) -> None:
    with pytest.raises(ConfigError) as refused:
        parse(changes)
    assert str(refused.value).startswith(f"f.toml: {key}: ") and words in str(refused.value)


def test_exactly_the_headroom_that_is_needed_is_accepted() -> None:
    assert parse({"federation.cohort": 16, "protection.bits": 12}).protection.bits == 12
    assert (
        parse(
            {"federation.cohort": 1, "federation.min_cohort": 1, "protection.bits": 16}
        ).protection.bits
        == 16
    )


@pytest.mark.parametrize(
    ("cohort", "threshold"),
    [(1, 1), (2, 2), (3, 3), (4, 3), (5, 4), (6, 5), (10, 7), (100, 67), (1000, 667)],
)
def test_the_default_threshold_is_two_thirds_and_one_more(cohort: int, threshold: int) -> None:
    assert default_threshold(cohort) == threshold
    assert 3 * threshold > 2 * cohort or cohort == threshold
    # fewer than this many colluding hospitals cannot sign two survivor sets
    assert 2 * threshold - cohort >= cohort / 3


def test_the_threshold_of_the_config_is_used() -> None:
    assert parse({"protection.threshold": 3}).threshold == 3
    assert BASE.threshold == 4


def test_a_file_goes_round(tmp_path: Path) -> None:
    path = tmp_path / "federation.toml"
    path.write_text(to_toml(BASE))
    assert read(path) == BASE


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"\xff\xfe", "is not valid TOML"),
        (b"[federation", "is not valid TOML"),
        (b"a = " + b"[" * 3000, "is not valid TOML"),
        (b"", "Object missing required field"),
        (None, "cannot be read: No such file or directory; check the path"),
        ("folder", "cannot be read: Is a directory; check the path"),
    ],
)
def test_a_file_that_is_none_is_refused_by_its_path(
    tmp_path: Path, content: typing.Any, words: str
) -> None:
    path = tmp_path / "federation.toml"
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif content == "folder":
        path.mkdir()
    with pytest.raises(ConfigError) as refused:
        read(path)
    assert str(refused.value).startswith(f"{path}: ") and words in str(refused.value)
