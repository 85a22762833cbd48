"""typer commands whose options follow from Structs (`federation/options.py`)."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any

import typer
from msgspec import inspect as types

from federation.options import REQUIRED, Option, allowed, bare

Command = Callable[[dict[str, Any]], None]


def app(**settings: Any) -> typer.Typer:
    """A typer app as all commands of `flop` have it: without completion, with plain exceptions."""
    return typer.Typer(add_completion=False, pretty_exceptions_enable=False, **settings)


def command(
    app: typer.Typer, options: Mapping[str, Option], panels: Mapping[str, str] | None = None
) -> Callable[[Command], Command]:
    """Register a function as a command of `app`, with these options.

    The function takes one dictionary: the options whose value is not the default, by name, as text
    (as bool for a switch, as a list of texts if the option may be repeated). Its docstring is the
    help text.

    Args:
        app: Where the command is registered.
        options: By name, in the order of the help text.
        panels: The heading in the help text for each table of the options.
    """

    def register(function: Command) -> Command:
        def call(**given: Any) -> None:
            function({name: value for name, value in given.items() if value != shown[name]})

        parameters = [_parameter(one, (panels or {}).get(one.table)) for one in options.values()]
        shown = {one.name: one.default for one in parameters}
        call.__doc__ = function.__doc__
        call.__name__ = function.__name__
        call.__annotations__ = {one.name: one.annotation for one in parameters}
        call.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]  # read by typer
        app.command()(call)
        return function

    return register


def _parameter(option: Option, panel: str | None) -> inspect.Parameter:
    switch = isinstance(option.type, types.BoolType)
    kind: Any = bool if switch else list[str] if option.many else str
    return inspect.Parameter(
        option.name,
        inspect.Parameter.KEYWORD_ONLY,
        default=_default(option),
        annotation=Annotated[
            kind if option.required else kind | None,
            typer.Option(
                f"{option.flag}/--no-{option.flag[2:]}" if switch else option.flag,
                help=_help(option),
                metavar=None if switch else _metavar(option),
                show_default=option.derived or True,
                rich_help_panel=panel,
            ),
        ],
    )


def _help(option: Option) -> str:
    """The description, and the range if there is one."""
    kind = bare(option.type)
    ranged = isinstance(kind, types.IntType | types.FloatType)
    words = allowed(kind).removeprefix("a whole number").removeprefix("a number").strip()
    return f"{option.about} ({words})" if ranged and words else option.about


def _metavar(option: Option) -> str:
    match bare(option.type):
        case types.LiteralType(values=values):
            return "|".join(str(value) for value in values)
        case types.IntType():
            return "INTEGER"
        case types.FloatType():
            return "NUMBER"
        case types.CustomType(cls=cls) if cls is Path:
            return "PATH"
    return "TEXT"


def _default(option: Option) -> Any:
    """The default as typer shows it; None if there is none to be shown."""
    if option.required:
        return ...
    if isinstance(option.default, bool):
        return option.default
    if option.derived or option.default in (REQUIRED, None, (), ""):
        return None
    return str(option.default)
