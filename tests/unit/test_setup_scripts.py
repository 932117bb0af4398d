# SPDX-License-Identifier: Apache-2.0
"""A fresh machine that lacks something gets a sentence that names it."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PLAIN = ("dirname", "uname", "id", "mkdir", "cat", "touch", "env", "bash")


@pytest.fixture
def machine(tmp_path: Path) -> Path:
    """A copy of the set-up scripts, and a bin/ with a few plain commands and nothing else."""
    shutil.copytree(ROOT / "tools", tmp_path / "tools")
    (tmp_path / "bin").mkdir()
    for name in PLAIN:
        found = shutil.which(name)
        assert found is not None, name
        (tmp_path / "bin" / name).symlink_to(found)
    return tmp_path


def program(machine: Path, name: str, script: str) -> None:
    path = machine / "bin" / name
    path.unlink(missing_ok=True)
    path.write_text(f"#!/bin/bash\n{script}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)


def call(machine: Path, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["bash", *words],
        cwd=machine,
        env={"PATH": str(machine / "bin"), "HOME": str(machine)} | environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_a_machine_without_python_is_told_what_to_install(machine: Path) -> None:
    result = call(machine, "tools/setup_python.sh", "demo")
    assert result.returncode == 1
    assert "needs Python 3.11 or 3.12; found no Python" in result.stderr
    assert "python3.11-venv" in result.stderr


def test_another_python_is_named(machine: Path) -> None:
    program(machine, "python3", '[ "$1" = --version ] && echo "Python 3.9.18" && exit 0; exit 1')
    result = call(machine, "tools/setup_python.sh", "demo")
    assert result.returncode == 1
    assert "needs Python 3.11 or 3.12; found Python 3.9.18" in result.stderr


def test_a_python_given_by_hand_must_fit(machine: Path) -> None:
    program(machine, "python3.8", "exit 1")
    result = call(machine, "tools/setup_python.sh", "demo", PYTHON="python3.8")
    assert result.returncode == 1
    assert "PYTHON=python3.8 is not Python 3.11 or 3.12" in result.stderr


def test_an_environment_of_another_python_is_not_used(machine: Path) -> None:
    (machine / ".venv" / "bin").mkdir(parents=True)
    program(machine, "python", '[ "$1" = --version ] && echo "Python 3.14.0" && exit 0; exit 1')
    (machine / "bin" / "python").rename(machine / ".venv" / "bin" / "python")
    result = call(machine, "tools/setup_python.sh", "demo")
    assert result.returncode == 1
    assert ".venv has Python 3.14.0" in result.stderr
    assert "make distclean" in result.stderr


def test_an_environment_without_pip_is_made_anew(machine: Path) -> None:
    remove = shutil.which("rm")
    assert remove is not None
    (machine / "bin" / "rm").symlink_to(remove)
    (machine / ".venv" / "bin").mkdir(parents=True)
    program(machine, "python", '[ "$1" = -c ] && exit 0; echo "No module named pip" >&2; exit 1')
    (machine / "bin" / "python").rename(machine / ".venv" / "bin" / "python")
    program(
        machine,
        "python3.11",
        '[ "$1" = -c ] && exit 0\n[ "$2" = venv ] || exit 3\nmkdir -p .venv/bin\n'
        "printf '#!/bin/bash\\nexit 0\\n' > .venv/bin/python\n"
        f"{shutil.which('chmod')} +x .venv/bin/python",
    )
    result = call(machine, "tools/setup_python.sh", "demo")
    assert result.returncode == 0, result.stderr


@pytest.mark.parametrize("system", ["MINGW64_NT-10.0", "CYGWIN_NT-10.0"])
def test_windows_is_sent_to_wsl2(machine: Path, system: str) -> None:
    program(machine, "uname", f"echo {system}")
    result = call(machine, "tools/setup_python.sh", "demo")
    assert result.returncode == 1
    assert "WSL2" in result.stderr


def test_torch_comes_before_everything_else(machine: Path) -> None:
    log = machine / "log"
    program(
        machine,
        "python3.11",
        f'[ "$1" = -c ] && exit 0\n[ "$2" = venv ] || exit 3\nmkdir -p .venv/bin\n'
        f"printf '#!/bin/bash\\necho \"$*\" >> {log}\\n' > .venv/bin/python\n"
        f"{shutil.which('chmod')} +x .venv/bin/python",
    )
    result = call(machine, "tools/setup_python.sh", "dev", TORCH_PIP_ARGS="--index-url X")
    assert result.returncode == 0, result.stderr
    first, second = log.read_text().splitlines()
    assert first.endswith("--index-url X torch==2.13.0")
    assert second.endswith("--editable .[dev]")


def test_a_machine_without_node_is_told_what_to_install(machine: Path) -> None:
    result = call(machine, "tools/setup_node.sh")
    assert result.returncode == 1
    assert "need Node 20 or newer, and there is no 'node'" in result.stderr


def test_an_old_node_is_named(machine: Path) -> None:
    program(machine, "node", '[ "$1" = --version ] && echo v18.19.0 || echo 18')
    result = call(machine, "tools/setup_node.sh")
    assert result.returncode == 1
    assert "needs Node 20 or newer, found v18.19.0" in result.stderr


def test_system_packages_that_are_there_are_left_alone(machine: Path) -> None:
    assert call(machine, "tools/need.sh").returncode == 0
    assert call(machine, "tools/need.sh", "bash=bash", "uname=coreutils").returncode == 0


def test_missing_system_packages_are_installed_where_apt_may(machine: Path) -> None:
    program(machine, "id", "echo 0")
    program(machine, "apt-get", f'echo "$*" >> {machine}/log')
    result = call(machine, "tools/need.sh", "bash=bash", "psql=postgresql", "ip=iproute2")
    assert result.returncode == 0, result.stderr
    update, install = (machine / "log").read_text().splitlines()
    assert update.startswith("update")
    assert install.endswith("postgresql iproute2")
    assert " bash" not in install


@pytest.mark.parametrize("apt", [True, False])
def test_missing_system_packages_are_named_where_nothing_may_be_installed(
    machine: Path, apt: bool
) -> None:
    program(machine, "id", "echo 1000")
    program(machine, "sudo", "exit 1")
    if apt:
        program(machine, "apt-get", "exit 9")
    result = call(machine, "tools/need.sh", "psql=postgresql", "chromium=chromium")
    assert result.returncode == 1
    assert "need these system packages: postgresql chromium" in result.stderr


def test_a_second_run_of_make_has_nothing_to_do(tmp_path: Path) -> None:
    """With stamps newer than what they stand for, set-up starts no installer."""
    for name in ("Makefile", "pyproject.toml", "package.json", "package-lock.json"):
        shutil.copy(ROOT / name, tmp_path / name)
    shutil.copytree(ROOT / "tools", tmp_path / "tools")
    (tmp_path / ".stamps").mkdir()
    for stamp in ("dev", "demo", "node"):
        (tmp_path / ".stamps" / stamp).touch()
    environment = {"PATH": os.environ["PATH"], "HOME": str(tmp_path)}
    result = subprocess.run(
        ["make", "--dry-run", "setup", "setup-demo"],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    assert "setup_" not in result.stdout
    (tmp_path / "package-lock.json").touch()
    later = (tmp_path / ".stamps" / "node").stat().st_mtime + 10
    os.utime(tmp_path / "package-lock.json", (later, later))
    result = subprocess.run(
        ["make", "--dry-run", "setup"],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    assert "setup_node" in result.stdout
    assert "setup_python" not in result.stdout
