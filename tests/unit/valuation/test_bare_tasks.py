# SPDX-License-Identifier: Apache-2.0
"""`covalue task new --bare`: a task for those who have no public rows, filled in by hand."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from valuation_world import sales

from cli.commands import load_command
from valuation.bare_text import with_examples
from valuation.blueprint import BARE_ROUNDS
from valuation.taskfile import parse_taskfile

COORDINATOR = "0x" + "01" * 20
FILLED = {
    "floor_area": "area",
    "building_type": "kind",
    "sold_on": "sold",
    '"latitude"': '"lat"',
    '"longitude"': '"lon"',
    "south = 47.2": "south = 50",
    "north = 55.1": "north = 52",
    "west = 5.8": "west = 8",
    "east = 15.1": "east = 10",
    "#center = 4.5\n": "",
    "#spread = 0.5\n": "",
}


def run(*words: str) -> Result:
    return CliRunner().invoke(load_command(words[0]), list(words[1:]))


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    made = run("task", "new", "--bare", "--target", "price", "--public-n", "700", "--epsilon", "4")
    assert made.exit_code == 0, made.output
    assert "validate task.toml" in made.stdout
    return tmp_path


def validate(*words: str, code: int = 0) -> dict[str, Any]:
    result = run("task", "validate", "task.toml", "--json", *words)
    assert result.exit_code == code, result.output
    found: dict[str, Any] = json.loads(result.stdout)
    return found


def test_a_file_that_nobody_filled_in_is_no_task_and_says_what_is_missing(folder: Path) -> None:
    refused = validate(code=2)
    assert refused["error"] == "target.lower: missing; target.upper: missing; feature: missing"


def test_every_kind_of_feature_has_an_example_that_is_valid_as_it_stands(folder: Path) -> None:
    text = with_examples((folder / "task.toml").read_text())
    task = parse_taskfile(text)
    assert {f.kind for f in task.feature} == {"number", "ratio", "category", "date", "location"}
    assert (task.public_rows, task.model.family) == (None, "mlp")
    assert (task.privacy.public_n, task.privacy.epsilon) == (700, 4)
    assert task.privacy.rounds == BARE_ROUNDS
    (folder / "task.toml").write_text(text)
    found = validate()
    assert found["valid"]
    assert found["epsilon"] <= 4
    assert found["rounds"] == BARE_ROUNDS
    assert any("no public rows nothing may judge" in each for each in found["warnings"])


def test_each_example_may_be_left_out(folder: Path) -> None:
    """But for a ratio, which needs its numbers."""
    text = (folder / "task.toml").read_text()
    head, *blocks = re.split(r"(?m)^#\[\[feature\]\]\n", text)
    tail = blocks[-1].partition("\n\n[unit]")[2]
    kept: list[str] = []
    for block in blocks:
        example = "[[feature]]\n" + with_examples(block.partition("\n\n")[0]) + "\n"
        start = with_examples(head)
        if '"ratio"' in example:
            start += "".join(kept)
        (folder / "task.toml").write_text(f"{start}{example}\n[unit]{tail}")
        assert validate("--quick")["valid"]
        kept.append(example)
    assert len(kept) == 6


def test_filled_in_it_checks_records_and_forecasts(folder: Path) -> None:
    text = (folder / "task.toml").read_text()
    for old, new in FILLED.items():
        assert old in text
        text = text.replace(old, new)
    (folder / "task.toml").write_text(with_examples(text))
    assert validate("--quick")["valid"]
    sales(600, seed=9).to_csv("mine.csv", index=False)
    checked = run("contributor", "check", "mine.csv", "--task", "task.toml", "--json")
    assert checked.exit_code == 0, checked.output
    found = json.loads(checked.stdout)
    assert (found["rows"], found["rows_that_count"]) == (600, 600)
    done = run("task", "forecast", "task.toml", "--json", "--data", "mine.csv", "--rounds", "100")
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["trained"]["r2"] > 0.2


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ((), "no public rows are named"),
        (("--bare", "public.csv"), "--bare makes a task without public rows"),
        (("--bare", "--family", "kernel"), "needs public rows"),
        (("--bare", "--epsilon", "nan"), "--epsilon nan"),
        (("--bare", "--coordinator", "me"), "terms.coordinator"),
        (("--bare", "--title", "x" * 300), "title"),
        (("--bare", "--output", "task.toml"), "task.toml exists"),
    ],
)
def test_what_contradicts_is_refused(folder: Path, words: tuple[str, ...], told: str) -> None:
    before = (folder / "task.toml").read_text()
    where = () if "--output" in words else ("--output", "other.toml")
    result = run("task", "new", "--target", "price", "--json", *where, *words)
    assert result.exit_code == 2, result.output
    assert told in json.loads(result.stdout)["error"]
    assert (folder / "task.toml").read_text() == before
    assert not (folder / "other.toml").exists()


def test_strange_words_survive_the_file(folder: Path) -> None:
    column = 'pri"ce\\ [m\u00b2] # 1'
    words = ("--force", "--title", "#1 \u4fa1\u683c", "--currency", "\u20ac")
    assert run("task", "new", "--bare", "--target", column, *words).exit_code == 0
    task = parse_taskfile(with_examples((folder / "task.toml").read_text(encoding="utf-8")))
    assert (task.target.column, task.title, task.target.currency) == (
        column,
        "#1 \u4fa1\u683c",
        "\u20ac",
    )
