# SPDX-License-Identifier: Apache-2.0
"""The suite of measurements: what is kept counts for the code that measured it, and the suite's
file holds the whole suite."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from bench import suite
from bench.suite import Code, code_of

ROOT = Path(__file__).resolve().parents[2]
PART = """
import os
from pathlib import Path

def rows():
    log = Path(os.environ["COUNTED"])
    with log.open("a") as out:
        out.write("{name}\\n")
    times = len(log.read_text().splitlines())
    return [dict(name="{name}", ours=times, peer=0, value=times, unit="runs", bar=1, holds=True)]
"""
FIRST, SECOND = Code("a" * 40, ""), Code("b" * 40, "")


class Bench:
    """A suite of two parts that write down when they are measured."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder, self.patch = folder, monkeypatch
        self.log = folder / "log"
        self.log.touch()
        parts = folder / "parts" / "bench"
        parts.mkdir(parents=True)
        for name in ("apples", "pears"):
            (parts / f"{name}.py").write_text(PART.replace("{name}", name))
        monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT), str(parts.parent)]))
        monkeypatch.setenv("COUNTED", str(self.log))
        monkeypatch.setattr(suite, "SUITES", {"fruit": ("apples", "pears")})
        monkeypatch.setattr(suite, "BUILD", folder / "build")
        self.file = folder / "build" / "bench-fruit.json"
        self.at(FIRST)

    def at(self, code: Code | None) -> None:
        self.patch.setattr(suite, "code_of", lambda folder: code)

    def run(self, *words: str) -> tuple[int, list[str]]:
        """The exit status, and what was measured."""
        before = len(self.log.read_text().split())
        self.patch.setattr(sys, "argv", ["suite", *words])
        status = suite.main()
        return status, self.log.read_text().split()[before:]

    def names(self) -> list[str]:
        rows: list[dict[str, Any]] = json.loads(self.file.read_text())
        return [row["name"] for row in rows]


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    return Bench(tmp_path, monkeypatch)


def test_what_is_kept_counts_only_for_the_code_that_measured_it(
    bench: Bench, capsys: pytest.CaptureFixture[str]
) -> None:
    both = ["apples", "pears"]
    assert bench.run("fruit") == (0, both)
    assert bench.run("fruit") == (0, [])
    bench.at(SECOND)
    capsys.readouterr()
    assert bench.run("fruit") == (0, both)
    told = " ".join(capsys.readouterr().out.split())
    assert "apples is measured again: kept from commit aaaaaaaaaaaa, this is commit bbbb" in told
    assert bench.run("fruit") == (0, [])
    bench.at(Code(SECOND.commit, "c" * 64))
    assert bench.run("fruit", "--only", "pears") == (0, ["pears"])
    assert bench.run("fruit") == (0, ["apples"])
    bench.at(None)
    assert bench.run("fruit") == (0, both), "without git nobody knows which code this is"
    bench.at(SECOND)
    assert bench.run("fruit") == (0, both), "nor which code measured what is kept"
    assert bench.run("fruit", "--fresh") == (0, both)


def test_rows_from_before_codes_were_kept_are_measured_again(bench: Bench) -> None:
    kept = bench.folder / "build" / "bench" / "apples.json"
    kept.parent.mkdir(parents=True)
    kept.write_text("[]")
    assert bench.run("fruit")[1] == ["apples", "pears"]


def test_a_part_does_not_take_the_place_of_the_suite(bench: Bench) -> None:
    assert bench.run("fruit", "--only", "pears")[1] == ["pears"]
    assert not bench.file.exists()
    bench.run("fruit")
    assert bench.names() == ["apples", "pears"]
    bench.run("fruit", "--only", "pears", "--fresh")
    assert bench.names() == ["apples", "pears"]


def test_a_part_that_fails_leaves_the_suite_s_file_alone(bench: Bench) -> None:
    bench.run("fruit")
    before = bench.file.read_bytes()
    (bench.folder / "parts" / "bench" / "apples.py").write_text("raise SystemExit(3)\n")
    assert bench.run("fruit", "--fresh")[0] == 2
    assert bench.file.read_bytes() == before


def test_an_unknown_part_is_refused_with_the_names(
    bench: Bench, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        bench.run("fruit", "--only", "nosuch")
    assert caught.value.code == 2
    said = capsys.readouterr().err
    assert "nosuch" in said
    assert "'apples', 'pears'" in said


def test_the_code_is_the_commit_and_every_change_to_it(tmp_path: Path) -> None:
    assert code_of(tmp_path) is None

    def git(*words: str) -> str:
        who = ["-c", "user.name=n", "-c", "user.email=e@example.org"]
        done = subprocess.run(["git", *who, *words], cwd=tmp_path, check=True, capture_output=True)
        return done.stdout.decode().strip()

    git("init", "-q")
    file = tmp_path / "engine.py"
    file.write_text("one")
    (tmp_path / ".gitignore").write_text("build/\n")
    git("add", ".")
    git("commit", "-q", "-m", "first")
    clean = Code(git("rev-parse", "HEAD"), "")
    assert code_of(tmp_path) == clean
    (tmp_path / "build").mkdir()
    (tmp_path / "build" / "rows.json").write_text("[]")
    assert code_of(tmp_path) == clean, "what is measured is no code"
    seen = {clean}
    for path, text in ((file, "two"), (file, "three"), (tmp_path / "new.py", "a")):
        path.write_text(text)
        seen.add(code_of(tmp_path))
    (tmp_path / "new.py").write_text("b")
    seen.add(code_of(tmp_path))
    assert len(seen) == 5
    file.write_text("one")
    (tmp_path / "new.py").unlink()
    assert code_of(tmp_path) == clean
