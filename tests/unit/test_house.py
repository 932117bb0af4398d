# SPDX-License-Identifier: Apache-2.0
"""What must be true of the tree itself: direction, licences, declared dependencies, tidiness."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator, Mapping
from functools import cache
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[2]
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
ROOMS = PYPROJECT["tool"]["ruff"]["lint"]["isort"]["known-first-party"]
PURE = ("rounds", "valuation", "privacy", "rewards")
FLOWER_PUBLIC = ("flwr.app", "flwr.clientapp", "flwr.serverapp", "flwr.simulation")
FLOWER_INTERNALS = {"fl_client/flower_runtime.py"}
"""The one module that rests on Flower's internals; flwr is pinned exactly for its sake."""


def sources(*rooms: str) -> list[Path]:
    return sorted(path for room in rooms for path in (ROOT / room).rglob("*.py"))


def tracked(*suffixes: str) -> list[Path]:
    """Files of the project: those git knows, or all of a tree without git."""
    folders = [*ROOMS, "tests", "bench", "tools", "contracts"]
    return sorted(
        path
        for folder in folders
        for path in (ROOT / folder).rglob("*")
        if path.suffix in suffixes and "node_modules" not in path.parts
    )


@cache
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text())


def imported(path: Path) -> Iterator[tuple[str, bool]]:
    """Full names of imported modules; True where at the top level of the file."""
    top = set(tree(path).body)
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name, node in top
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module, node in top


def declared(extra: str | None) -> set[str]:
    project = PYPROJECT["project"]
    listed = project["dependencies"] if extra is None else project["optional-dependencies"][extra]
    return {canonicalize_name(Requirement(line).name) for line in listed}


@cache
def by_module() -> Mapping[str, list[str]]:
    """Distributions by the top-level modules they install."""
    return packages_distributions()


@cache
def third_party(path: Path) -> set[str]:
    """Distributions that a file imports, by their names in the index."""
    names = {name.split(".")[0] for name, _ in imported(path)}
    foreign = names - set(sys.stdlib_module_names) - set(ROOMS)
    return {canonicalize_name(by_module()[name][0]) for name in foreign}


@pytest.mark.parametrize("room", ROOMS)
def test_each_room_imports_only_what_pyproject_declares(room: str) -> None:
    allowed = declared(None) | (declared("demo") if room == "demo" else set())
    stray = {
        (str(path.relative_to(ROOT)), name)
        for path in sources(room)
        for name in third_party(path) - allowed
    }
    # the demo's command and composition run with the demo extra
    stray = {pair for pair in stray if pair[0] != "cli/demo.py"}
    assert not stray


def test_everything_declared_is_used() -> None:
    used = set().union(*(third_party(path) for path in sources(*ROOMS)))
    # flwr starts its servers itself and pins starlette beside fastapi
    assert declared(None) - used <= {"starlette"}


def test_flower_internals_stand_in_one_module() -> None:
    inside = {
        (str(path.relative_to(ROOT)), name)
        for path in sources(*ROOMS)
        for name, _ in imported(path)
        if name.split(".")[0] == "flwr"
        and not any(name == public or name.startswith(public + ".") for public in FLOWER_PUBLIC)
    }
    assert {file for file, _ in inside} <= FLOWER_INTERNALS


def test_pure_rooms_open_no_files_and_nobody_pickles() -> None:
    for path in sources(*ROOMS):
        calls = {
            ast.unparse(node.func) for node in ast.walk(tree(path)) if isinstance(node, ast.Call)
        }
        modules = {name.split(".")[0] for name, _ in imported(path)}
        assert not modules & {"pickle", "cloudpickle", "dill", "shelve", "marshal"}, path
        assert not calls & {"torch.load", "torch.save", "eval", "exec"}, path
        if path.relative_to(ROOT).parts[0] in PURE:
            assert not calls & {"open", "io.open", "os.open", "print", "input"}, path
            written = {call for call in calls if call.split(".")[-1] in ("read_csv", "to_csv")}
            assert not written, path


def test_commands_load_no_heavy_library_before_they_run() -> None:
    heavy = {"torch", "flwr", "web3", "pandas", "numpy", "scipy", "fastapi", "opacus", "uvicorn"}
    for path in sources("cli"):
        at_top = {name.split(".")[0] for name, top in imported(path) if top}
        assert not at_top & heavy, f"{path.name} imports {at_top & heavy} at the top"


def test_help_of_every_command_loads_no_torch() -> None:
    """torch takes seconds to load; nobody should wait for it to read a help text."""
    code = (
        "import sys\n"
        "from cli.commands import COMMANDS, load_command\n"
        "for name in COMMANDS:\n"
        "    load_command(name)\n"
        "    assert not {'torch', 'opacus', 'ray'} & set(sys.modules), name\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], check=False, cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr


def test_every_source_names_its_licence() -> None:
    assert "Apache License" in (ROOT / "LICENSE").read_text()[:200]
    for path in tracked(".py", ".sol"):
        if path.parent.name == "__pycache__":
            continue
        first = path.read_text().splitlines()[:2]
        assert any("SPDX-License-Identifier: Apache-2.0" in line for line in first), path


def test_files_are_short_and_names_tell_something() -> None:
    for path in tracked(".py", ".sol"):
        lines = len(path.read_text().splitlines())
        assert lines <= 450 or path.name == "records.py", f"{path}: {lines} lines"
        assert path.stem not in ("utils", "util", "helpers", "helper", "common", "misc"), path


def test_test_files_have_unique_names() -> None:
    names = [path.name for path in sources("tests") if path.name.startswith("test_")]
    assert sorted(names) == sorted(set(names))


def test_nothing_is_skipped_or_left_for_later() -> None:
    marks = re.compile(r"TODO|FIXME|NotImplementedError|mark\.(skip|xfail)|pytest\.skip")
    for path in tracked(".py", ".sol"):
        if path == Path(__file__).resolve():
            continue
        assert not marks.search(path.read_text()), path


def test_the_build_machine_runs_the_readme_s_test_command() -> None:
    script = (ROOT / ".ci" / "run").read_text()
    assert re.search(r"^make test$", script, re.MULTILINE)
    assert "make test" in (ROOT / "README.md").read_text()


def test_no_lock_or_setting_names_a_registry_host() -> None:
    for name in ("package-lock.json", "package.json", "pyproject.toml", "Makefile", ".npmrc"):
        text = (ROOT / name).read_text()
        assert not re.search(r"registry\.|/simple|pypi\.org|npmjs", text), name
