"""Who may import whom (DESIGN.md, "The rooms"), read from the sources; and a coordinator that never
loads torch.
"""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
ROOMS = (
    "crypto",
    "federation",
    "learning",
    "hospital_node",
    "coordinator",
    "simulation",
    "attacks",
)
ALLOWED = {
    "crypto": set(),
    "federation": {"crypto"},
    "learning": set(),
    "hospital_node": {"federation", "learning"},
    "coordinator": {"federation"},
    "simulation": {"coordinator", "hospital_node", "federation", "learning"},
    # measures crypto by itself
    "simulation/bench": {"coordinator", "hospital_node", "federation", "learning", "crypto"},
    "attacks": {"simulation", "federation", "learning", "crypto"},
}


def sources(room: str) -> list[Path]:
    return sorted((ROOT / room).rglob("*.py"))


def imports(path: Path) -> set[str]:
    """Full names of the modules that this file imports, wherever in it."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return found


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_imports_only_the_rooms_below_it(room: str) -> None:
    assert sources(room)
    for path in sources(room):
        others = {name.partition(".")[0] for name in imports(path)} & set(ROOMS) - {room}
        allowed = ALLOWED.get(str(path.parent.relative_to(ROOT)), ALLOWED[room])
        assert others <= allowed, f"{path.relative_to(ROOT)} imports {sorted(others - allowed)}"


def test_attack_methods_see_observations_and_models_only() -> None:
    for path in sources("attacks/methods"):
        ours = {name for name in imports(path) if name.partition(".")[0] in ROOMS}
        strange = {
            n
            for n in ours
            if not n.startswith(("attacks.observation", "attacks.methods", "learning"))
            and n != "attacks"
        }
        assert not strange, f"{path.relative_to(ROOT)} imports {sorted(strange)}"


@pytest.mark.parametrize(
    ("library", "home"),
    [
        ("zmq", {"federation/transport/sockets.py"}),
        ("tenseal", {"crypto/ckks.py", "crypto/ckks_common.py"}),
        ("pickle", set()),
        ("random", set()),
    ],
)
def test_one_file_for_each_library_that_wants_care(library: str, home: set[str]) -> None:
    users = set()
    for room in ROOMS:
        for path in sources(room):
            if any(name.partition(".")[0] == library for name in imports(path)):
                users.add(str(path.relative_to(ROOT)))
    assert users == home


def test_the_coordinator_and_the_protocol_never_import_torch() -> None:
    for room in ("crypto", "federation", "coordinator"):
        for path in sources(room):
            assert not any(
                name.partition(".")[0] in ("torch", "torchvision") for name in imports(path)
            ), path


def test_a_coordinator_with_everything_loaded_has_no_torch() -> None:
    script = (
        "import sys, coordinator.command, federation.protections as p\n"
        "for kind in ('plain', 'masked', 'ckks', 'masked+ckks'): p.get(kind)\n"
        "assert not {'torch', 'torchvision'} & set(sys.modules), 'torch is loaded'\n"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_only_files_of_this_project_are_packages() -> None:
    """pyproject lists the packages by name; a folder that is not installed would work here and
    nowhere else.
    """
    listed = (ROOT / "pyproject.toml").read_text()
    for room in ROOMS:
        assert f'"{room}*"' in listed


@pytest.mark.parametrize(
    "script", [*sorted(path.name for path in (ROOT / "scripts").glob("*.sh")), "../.ci/run"]
)
def test_the_scripts_are_valid_shell(script: str) -> None:
    done = subprocess.run(
        ["bash", "-n", str(ROOT / "scripts" / script)], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
