"""Options that follow from the fields of a Struct.

A field declares its name, type, range, default and description once. This module reads them, so
that the command line (`federation/cli.py`) and Python callers have the same options with the same
checks.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, get_type_hints

import msgspec
from msgspec import NODEFAULT, Struct, inspect

from federation.errors import ConfigError

REQUIRED = NODEFAULT
"""The default of an option that has to be given."""


@dataclass(frozen=True)
class Option:
    """One option.

    Attributes:
        name: As a Python argument, such as `local_epochs`.
        hint: The field's type with its ranges, as `msgspec.convert` takes it.
        type: The same, as msgspec describes it.
        about: A sentence of help.
        default: REQUIRED if a value has to be given or is derived.
        table: The table of a config file that the value goes to; "" for an option of its own.
        key: The key in that table.
        derived: How a value is found if none is given; "" if that is the default.
        separator: What separates several values in one text; "" if the option is repeated instead.
    """

    name: str
    hint: Any  # a type or an Annotated form: Python has no narrower type for both
    type: inspect.Type
    about: str
    default: object
    table: str
    key: str
    derived: str = ""
    separator: str = ""

    @property
    def flag(self) -> str:
        """The option on the command line, such as `--local-epochs`."""
        return "--" + self.name.replace("_", "-")

    @property
    def many(self) -> bool:
        """True if the option takes several values."""
        return isinstance(self.type, inspect.VarTupleType)

    @property
    def required(self) -> bool:
        """True if a value has to be given."""
        return self.default is REQUIRED and not self.derived

    def naming(self, names: Iterable[str]) -> Option:
        """The same option with the names of a registry in its help."""
        return replace(self, about=f"{self.about.rstrip('.')}: {', '.join(names)}.")

    def read(self, given: object) -> Any:
        """Check a value and convert it to the field's type.

        Args:
            given: A Python value, or text from the command line (a list of texts if `many`).

        Raises:
            ConfigError: If the value may not stand there. The text names option, value and range.
        """
        value = given
        if self.separator and isinstance(value, str):
            value = [value]
        if self.separator and isinstance(value, list | tuple):
            parts = [part for one in value for part in str(one).split(self.separator)]
            value = [part.strip() for part in parts if part.strip()]
        try:
            return msgspec.convert(
                value, self.hint, strict=not isinstance(value, str), dec_hook=_decode
            )
        except (msgspec.ValidationError, TypeError):
            shown = given if isinstance(given, str) else repr(given)
            raise ConfigError(f"{self.flag} {shown}: give {allowed(self.type)}") from None


def of_struct(struct: type[Struct], table: str = "") -> dict[str, Option]:
    """The options of a Struct's fields, by name. `table`: where their values go."""
    hints = get_type_hints(struct, include_extras=True)
    described = inspect.type_info(struct)
    if not isinstance(described, inspect.StructType):
        raise TypeError(f"{struct} is no Struct")
    found: dict[str, Option] = {}
    for field in described.fields:
        meta = field.type if isinstance(field.type, inspect.Metadata) else None
        extra: Mapping[str, str] = (meta.extra if meta else None) or {}
        schema = (meta.extra_json_schema if meta else None) or {}
        name = extra.get("option", field.name).replace("-", "_")
        found[name] = Option(
            name,
            hints[field.name],
            bare(field.type),
            str(schema.get("description", "")),
            field.default,
            table,
            field.name,
            separator=extra.get("separator", ""),
        )
    return found


def of_config(config: type[Struct], omit: Iterable[str] = ()) -> dict[str, Option]:
    """The options of all tables of a config file. `omit`: keys `table.key` to leave out."""
    left_out = set(omit)
    found: dict[str, Option] = {}
    for field in msgspec.structs.fields(config):
        for name, option in of_struct(field.type, field.name).items():
            if f"{option.table}.{option.key}" not in left_out:
                if name in found:
                    raise TypeError(f"two keys of {config} have the option {option.flag}")
                found[name] = option
    return found


def read(options: Mapping[str, Option], given: Mapping[str, object]) -> dict[str, Any]:
    """Check every value that is given. A value of None counts as not given.

    Raises:
        ConfigError: If an option is unknown, its value is refused, or a required one is missing.
    """
    unknown = sorted(set(given) - set(options))
    if unknown:
        raise ConfigError(f"no option is called {unknown[0]!r}; choose from {', '.join(options)}")
    values = {name: options[name].read(value) for name, value in given.items() if value is not None}
    for name, option in options.items():
        if option.required and name not in values:
            raise ConfigError(f"{option.flag} is missing; give {allowed(option.type)}")
    return values


def tables(options: Mapping[str, Option], values: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Sort values into the tables of a config file: {table: {key: value}}."""
    found: dict[str, dict[str, Any]] = {
        option.table: {} for option in options.values() if option.table
    }
    for name, value in values.items():
        option = options[name]
        if option.table:
            found[option.table][option.key] = value
    return found


def apply_settings(
    tables: Mapping[str, dict[str, Any]], settings: Iterable[str], fixed: Iterable[str] = ()
) -> None:
    """Put `table.key=value` settings into the tables. A value is read as TOML, else as text.

    Raises:
        ConfigError: If a setting has another form, names no table, or names a key of `fixed`.
    """
    for setting in settings:
        where, found, text = setting.partition("=")
        table, dot, key = where.strip().partition(".")
        if not (found and dot) or table not in tables:
            raise ConfigError(
                f"--set {setting}: give TABLE.KEY=VALUE with one of the tables {', '.join(tables)}"
            )
        if f"{table}.{key}" in set(fixed):
            raise ConfigError(f"--set {setting}: this key follows from the data and the model")
        try:
            tables[table][key] = tomllib.loads(f"value = {text}")["value"]
        except tomllib.TOMLDecodeError:
            tables[table][key] = text.strip()


def allowed(type_: inspect.Type) -> str:
    """What may stand there, for the end of a sentence that begins with "give"."""
    match bare(type_):
        case inspect.LiteralType(values=values):
            return f"one of {', '.join(str(value) for value in values)}"
        case inspect.BoolType():
            return "true or false"
        case inspect.IntType() | inspect.FloatType() as number:
            kind = "a whole number" if isinstance(number, inspect.IntType) else "a number"
            return " ".join([kind, *_bounds(number)])
        case inspect.VarTupleType(item_type=item):
            return f"a list, each {allowed(item)}"
        case inspect.CustomType(cls=cls) if cls is Path:
            return "a path"
        case inspect.StrType(max_length=int(longest)):
            return f"a text of at most {longest} characters"
        case inspect.StructType(fields=fields):
            return f"a table with the keys {', '.join(field.encode_name for field in fields)}"
    return "a text"


def bare(type_: inspect.Type) -> inspect.Type:
    """The type without its description, and without None if that is the only alternative."""
    if isinstance(type_, inspect.Metadata):
        return bare(type_.type)
    if isinstance(type_, inspect.UnionType):
        others = [one for one in type_.types if not isinstance(one, inspect.NoneType)]
        if len(others) == 1:
            return bare(others[0])
    return type_


def _bounds(number: inspect.IntType | inspect.FloatType) -> list[str]:
    def shown(bound: float) -> str:
        return f"{bound:g}" if isinstance(bound, float) or bound < 10**9 else f"{bound:,}"

    least, most = number.ge, number.le
    if least is not None and most is not None:
        return [f"from {shown(least)} to {shown(most)}"]
    words = [
        f"{word} {shown(bound)}"
        for word, bound in (
            ("of at least", least),
            ("above", number.gt),
            ("of at most", most),
            ("below", number.lt),
        )
        if bound is not None
    ]
    return [" and ".join(words)] if words else []


def _decode(kind: type, value: Any) -> Any:
    """What msgspec cannot convert by itself."""
    if kind is Path:
        return Path(value)
    raise TypeError(f"{value!r} is no {kind.__name__}")
