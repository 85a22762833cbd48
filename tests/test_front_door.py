"""`flop` as a command and as a module: exit codes, what is printed, what `import flop` loads."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import version

import pytest

import flop
from federation.errors import ConfigError, FederationError


def ended(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    """The exit code of `flop arguments`."""
    monkeypatch.setattr(sys, "argv", ["flop", *arguments])
    with pytest.raises(SystemExit) as end:
        flop.main()
    return int(end.value.code or 0)


def raising(error: BaseException) -> object:
    """A module that stands for a command's: its app raises `error`."""

    class Module:
        @staticmethod
        def sim_app(**_: object) -> int:
            raise error

    return Module


@pytest.mark.parametrize("arguments", [(), ("--help",), ("-h",), ("--version",)])
def test_asking_for_help_or_the_version_ends_with_0(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...]
) -> None:
    assert ended(monkeypatch, *arguments) == 0
    assert "flop" in capsys.readouterr().out


def test_the_version_is_that_of_the_distribution(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    ended(monkeypatch, "--version")
    assert capsys.readouterr().out == f"flop {version('flop-federation')}\n"
    assert flop.__version__ == version("flop-federation")


def test_the_help_lists_every_command(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    ended(monkeypatch, "--help")
    printed = capsys.readouterr().out
    for name, (_, about) in flop.COMMANDS.items():
        assert name in printed and about in printed


def test_an_unknown_command_ends_with_2_and_is_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert ended(monkeypatch, "nonsense") == 2
    assert "'nonsense'" in capsys.readouterr().err


def test_an_unknown_option_ends_with_2_and_is_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert ended(monkeypatch, "keygen", "--nonsense") == 2
    assert "--nonsense" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("error", "code", "printed"),
    [
        (ConfigError("a.toml: key: mend it"), 2, "flop: a.toml: key: mend it\n"),
        (ConfigError("flop init: key: mend it"), 2, "flop init: key: mend it\n"),
        (KeyboardInterrupt(), 130, ""),
        (FederationError("lost"), 1, "internal error: FederationError: lost"),
        (KeyError("lost"), 1, "internal error: KeyError: 'lost'"),
    ],
)
def test_the_exit_code_says_whose_fault_an_error_is(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    error: BaseException,
    code: int,
    printed: str,
) -> None:
    monkeypatch.setattr(flop.importlib, "import_module", lambda name: raising(error))
    assert ended(monkeypatch, "sim") == code
    said = capsys.readouterr().err
    assert printed in said and "Traceback" not in said


def test_a_traceback_is_shown_on_request_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flop.importlib, "import_module", lambda name: raising(KeyError("lost")))
    monkeypatch.setattr(sys, "argv", ["flop", "sim"])
    monkeypatch.setenv("FLOP_TRACEBACK", "1")
    with pytest.raises(KeyError):
        flop.main()


def test_ctrl_c_inside_a_command_ends_with_130() -> None:
    """typer catches Ctrl-C itself: its exit code has to be ours."""
    script = (
        "import sys, typer, flop, coordinator.command as command\n"
        "app = typer.Typer()\n"
        "@app.command()\n"
        "def interrupted() -> None:\n"
        "    raise KeyboardInterrupt\n"
        "command.coordinator_app = app\n"
        "sys.argv = ['flop', 'coordinator']\n"
        "flop.main()\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 130, done.stderr


def test_a_name_of_the_interface_is_imported_when_it_is_used(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(flop.NAMES, "default_threshold", "federation.config")
    try:
        assert flop.default_threshold(5) == 4
        assert "default_threshold" in dir(flop)
    finally:
        del flop.default_threshold


def test_an_unknown_name_of_the_interface_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="nonsense"):
        flop.nonsense  # noqa: B018


def test_import_flop_loads_nothing_of_ours_and_no_library() -> None:
    script = (
        "import sys, flop\n"
        "heavy = {'torch', 'numpy', 'matplotlib', 'typer', 'federation', 'simulation'}\n"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)\n"
        "assert set(flop.NAMES) | {'__version__'} == set(flop.__all__)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
