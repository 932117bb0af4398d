# SPDX-License-Identifier: Apache-2.0
"""The wheel holds all that a contributor, a member, an auditor and a server need.

It is installed into an empty environment outside the repository. The libraries it declares come
from the environment of the tests by a path entry, which does not process that environment's own
path files, so the editable install of this repository stays invisible.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SHIPPED = ("*.json", "*.fab", "*.sha256", "py.typed")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from a copy so that no build folder is left in the tree."""
    folder = tmp_path_factory.mktemp("wheel")
    copy = folder / "source"
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
        cwd=ROOT, capture_output=True, check=True,
    ).stdout.decode()  # fmt: skip
    for name in filter(None, listed.split("\0")):
        if (ROOT / name).is_file() and not name.startswith(("contracts/", "tests/")):
            target = copy / name
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes((ROOT / name).read_bytes())
    subprocess.run(
        [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation",
         "--wheel-dir", str(folder), str(copy)],
        check=True, capture_output=True, text=True,
    )  # fmt: skip
    [built] = folder.glob("covalue-*.whl")
    return built


@pytest.fixture(scope="module")
def environment(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty environment with the wheel in it; the folder of its programs."""
    folder = tmp_path_factory.mktemp("venv")
    venv.create(folder, with_pip=False, symlinks=True)
    packages = folder / "lib" / f"python{sysconfig.get_python_version()}" / "site-packages"
    subprocess.run(
        [sys.executable, "-m", "pip", "--python", str(folder / "bin" / "python"), "install",
         "--quiet", "--no-deps", "--no-index", "--force-reinstall", str(wheel)],
        check=True, capture_output=True, text=True, cwd=folder,
        env={name: value for name, value in os.environ.items() if name != "PYTHONPATH"},
    )  # fmt: skip
    (packages / "libraries.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return folder / "bin"


def run(environment: Path, *words: str, cwd: Path) -> str:
    """Output of a program of the environment, in an empty folder and without Node on the path."""
    return subprocess.run(
        [str(environment / words[0]), *words[1:]],
        cwd=cwd,
        env={"PATH": f"{environment}:/usr/bin:/bin", "HOME": str(cwd)},
        check=True,
        capture_output=True,
        text=True,
    ).stdout


def test_the_wheel_holds_every_data_file_of_the_packages(wheel: Path) -> None:
    packed = set(zipfile.ZipFile(wheel).namelist())
    rooms = [path.parent.name for path in ROOT.glob("*/py.typed")]
    assert len(rooms) == 11
    for room in rooms:
        for pattern in ("*.py", *SHIPPED):
            for path in (ROOT / room).rglob(pattern):
                if "__pycache__" not in path.parts:
                    assert str(path.relative_to(ROOT)) in packed
    assert any(name.startswith("dao/abi/") for name in packed)
    assert any(name.endswith(".fab") for name in packed)
    stray = [name for name in packed if name.startswith(("tests/", "bench/", "contracts/"))]
    assert not stray


def test_the_command_works_outside_of_the_repository(environment: Path, tmp_path: Path) -> None:
    where = run(environment, "python", "-c", "import dao; print(dao.__file__)", cwd=tmp_path)
    assert Path(where.strip()).is_relative_to(environment.parent)
    assert "contributor" in run(environment, "covalue", "--help", cwd=tmp_path)
    for name in ("contributor", "member", "audit", "serve", "model", "task", "coordinator"):
        assert "Usage" in run(environment, "covalue", name, "--help", cwd=tmp_path)


def test_abis_and_bundle_are_read_from_the_wheel(environment: Path, tmp_path: Path) -> None:
    code = (
        "import json\n"
        "from dao.artefacts import load_artefact\n"
        "from dao.deployment import CONTRACT_NAMES\n"
        "from fl_client.bundle import bundle_sha256\n"
        "sizes = {name: len(load_artefact(name).bytecode) for name in CONTRACT_NAMES}\n"
        "print(json.dumps([sizes, bundle_sha256()]))\n"
    )
    sizes, digest = json.loads(run(environment, "python", "-c", code, cwd=tmp_path))
    assert len(sizes) == 8
    assert all(size > 1000 for size in sizes.values())
    assert len(digest) == 64


def test_the_modules_of_every_role_import(environment: Path, tmp_path: Path) -> None:
    modules = (
        "fl_client.opening", "fl_client.client_app", "audit.task", "inference.server",
        "fl_server.server_app", "cli.commands", "dao.governance",
    )  # fmt: skip
    run(environment, "python", "-c", f"import {', '.join(modules)}", cwd=tmp_path)
