"""The options of `flop sim` and `flop init` follow from the types of federation.toml."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Literal

import pytest
import typer
from msgspec import Meta, Struct, inspect
from typer.testing import CliRunner

from federation import cli, options
from federation.config import FederationConfig, Training
from federation.errors import ConfigError
from federation.options import Option
from hospital_node.founding import OPTIONS as INIT_OPTIONS
from hospital_node.founding import init_app
from simulation.run.command import sim_app
from simulation.run.options import OPTIONS, Options

WIDE = {"COLUMNS": "400", "TERMINAL_WIDTH": "400"}
TODAY = {
    "data": "phantom-cxr", "image_size": 64, "model": "cnn3", "private": (), "private_last": None,
    "algorithm": "flop", "protection": "masked", "threshold": 0, "weighting": "uniform",
    "hospitals": 5, "rounds": 5, "local_epochs": 1, "batch_size": 32, "lr": 0.001,
    "optimizer": "adam", "beta": 1.0, "pretrained": False, "partition": "iid", "transport": "zmq",
    "device": "auto", "seed": 0, "record": False, "baselines": True, "set": (),
}  # fmt: skip


class One(Struct):
    key: int = 0


class Two(Struct):
    one: One
    other: One


class Asked(Struct):
    """A field of each kind."""

    number: Annotated[int, Meta(ge=0, description="A number.")]
    kind: Annotated[Literal["a", "b"], Meta(description="A kind.")] = "a"
    names: Annotated[tuple[str, ...], Meta(extra={"separator": ","})] = ()
    texts: tuple[str, ...] = ()
    flag: bool = False
    path: Path = Path("here")


def help_of(app: typer.Typer) -> str:
    done = CliRunner().invoke(app, ["--help"], env=WIDE)
    assert done.exit_code == 0
    return done.output


def line_of(text: str, option: Option) -> str:
    """The row of the help table that describes the option."""
    row = re.compile(rf"^│[ *]*{option.flag}\b(?!-)")
    return next(line for line in text.splitlines() if row.search(line))


@pytest.mark.parametrize(("app", "named"), [(sim_app, OPTIONS), (init_app, INIT_OPTIONS)])
def test_every_option_is_in_the_help_with_its_sentence_and_default(
    app: typer.Typer, named: dict[str, Option]
) -> None:
    text = help_of(app)
    for option in named.values():
        line = line_of(text, option)
        assert option.about and option.about[:40] in line, option.flag
        if isinstance(option.default, int | float | str) and not option.derived:
            shown = option.default
            if isinstance(shown, bool):
                shown = option.flag[2:] if shown else f"no-{option.flag[2:]}"
            assert f"[default: {shown}]" in line or shown == "", option.flag
        if option.derived:
            assert f"[default: ({option.derived})]" in line


@pytest.mark.parametrize("name", TODAY)
def test_names_and_defaults_are_what_users_know(name: str) -> None:
    assert OPTIONS[name].default == TODAY[name]


def test_a_key_of_a_table_is_an_option_of_both_commands() -> None:
    """So a new training key needs no other line to be asked for."""
    for field in Training.__struct_fields__:
        assert any((one.table, one.key) == ("training", field) for one in OPTIONS.values())
        assert any((one.table, one.key) == ("training", field) for one in INIT_OPTIONS.values())


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"rounds": 0}, ("--rounds", "0", "from 1 to 100000")),
        ({"rounds": "many"}, ("--rounds", "many", "whole number")),
        ({"lr": "-1"}, ("--lr", "-1", "number", "1e-12")),
        ({"beta": 0.0}, ("--beta", "0.0", "above 0", "10")),
        ({"optimizer": "newton"}, ("--optimizer", "newton", "adam", "sgd")),
        ({"ring": "17"}, ("--ring", "17", "16, 24, 32")),
        ({"algorithm": "fedprox"}, ("--algorithm", "fedprox", "local")),
        ({"record": "perhaps"}, ("--record", "perhaps", "true or false")),
        ({"transport": "pigeon"}, ("--transport", "pigeon", "memory", "zmq")),
        ({"hospitals": 3, "cohort": 4}, ("--cohort", "4", "from 1 to 3")),
        ({"test_fraction": 1.0}, ("--test-fraction", "1.0", "below 1")),
        ({"label_smothing": 0.1}, ("label_smothing", "lr")),
    ],
)
def test_a_refused_value_is_named_with_its_option_and_what_may_stand_there(
    given: dict[str, object], words: tuple[str, ...]
) -> None:
    with pytest.raises(ConfigError) as refused:
        Options.of(**given)
    for word in words:
        assert word in str(refused.value)


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ("training.nonsense=1", ("training", "nonsense", "lr")),
        ("training.lr=-1", ("training.lr", "1e-12")),
        ("training.optimizer=newton", ("training.optimizer", "adam, sgd")),
        ("lr=0.1", ("lr=0.1", "TABLE.KEY=VALUE")),
        ("nowhere.lr=0.1", ("nowhere", "training")),
        ("model.classes=[]", ("model.classes", "follows from the data")),
    ],
)
def test_a_wrong_setting_is_named(setting: str, words: tuple[str, ...]) -> None:
    with pytest.raises(ConfigError) as refused:
        Options.of(set=(setting,))
    for word in words:
        assert word in str(refused.value)


def test_text_and_python_values_mean_the_same() -> None:
    text = Options.of(lr="0.5", ring="24", record="true", private=["head.*"], out="runs/one")
    value = Options.of(lr=0.5, ring=24, record=True, private=("head.*",), out=Path("runs/one"))
    assert text == value
    assert text.agreed.training.lr == 0.5 and text.agreed.protection.ring == 24


def test_a_setting_reaches_the_config_and_wins_over_the_option() -> None:
    options = Options.of(lr=0.5, set=("training.lr=0.25", "training.momentum=0.9"))
    assert (options.agreed.training.lr, options.agreed.training.momentum) == (0.25, 0.9)


def test_other_options_are_derived_anew_when_one_changes() -> None:
    options = Options.of(hospitals=2)
    assert options.agreed.federation.min_cohort == 2
    assert options.but(hospitals=9).agreed.federation.cohort == 9
    assert options.but(hospitals=9).agreed.federation.min_cohort == 3


def test_two_keys_with_one_option_name_are_a_mistake_of_ours() -> None:
    with pytest.raises(TypeError, match="--key"):
        options.of_config(Two)


def test_a_command_gets_only_what_was_asked_for() -> None:
    seen: list[dict[str, object]] = []
    named, app = options.of_struct(Asked), cli.app()

    @cli.command(app, named)
    def take(given: dict[str, object]) -> None:
        """Example: take."""
        seen.append(given)

    words = ["--number", "3", "--names", "x, y", "--texts", "a,b", "--texts", "c", "--flag"]
    assert CliRunner().invoke(app, words).exit_code == 0
    assert options.read(named, seen[0]) == {
        "number": 3,
        "names": ("x", "y"),
        "texts": ("a,b", "c"),
        "flag": True,
    }
    assert CliRunner().invoke(app, []).exit_code == 2, "a required option is missing"
    with pytest.raises(ConfigError, match="--number is missing"):
        options.read(named, {})


@pytest.mark.parametrize("field", inspect.type_info(FederationConfig).fields)  # type: ignore[union-attr]
def test_every_key_has_a_sentence_of_help(field: inspect.Field) -> None:
    for option in options.of_struct(field.type.cls).values():  # type: ignore[union-attr]
        assert option.about.endswith("."), f"{field.name}.{option.key}"
