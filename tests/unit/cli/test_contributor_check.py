# SPDX-License-Identifier: Apache-2.0
"""`covalue contributor check FILE`: what it says, what it refuses, and that nothing leaves."""

from __future__ import annotations

import hashlib
import json
import socket
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from click.testing import CliRunner, Result

from cli.commands import load_command
from dao.records import Task
from dao.store import LocalStore
from demo.market import TARGET, generate_market
from privacy import accounting
from valuation.build import build_task
from valuation.taskfile import parse_taskfile

COORDINATOR = "0x" + "01" * 20


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with public rows, a task file and records; and no way out of this process."""

    def refuse(*_: object) -> None:
        raise AssertionError("the data check opened a connection")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket.socket, "connect_ex", refuse)
    monkeypatch.chdir(tmp_path)
    generate_market(300, 1).to_csv("public.csv", index=False)
    made = run("task", "new", "public.csv", "--target", TARGET, "--coordinator", COORDINATOR)
    assert made.exit_code == 0, made.output
    records().to_csv("mine.csv", index=False)
    return tmp_path


def records() -> pd.DataFrame:
    frame = generate_market(200, 2).astype(object)
    frame.loc[3, TARGET] = 5
    frame.loc[5, "property_type"] = "[bold]castle[/]\x1b[31m"
    frame.loc[[8, 9]] = frame.loc[[7, 7]].to_numpy()
    return frame


def run(*words: str) -> Result:
    return CliRunner().invoke(load_command(words[0]), list(words[1:]))


def check(*words: str) -> dict[str, Any]:
    result = run("contributor", "check", *words, "--json")
    assert result.exit_code == 0, result.output
    found: dict[str, Any] = json.loads(result.stdout)
    return found


def refused(*words: str) -> str:
    result = run("contributor", "check", *words, "--json")
    assert result.exit_code == 2, result.output
    found = json.loads(result.stdout)
    assert found["hint"]
    return f"{found['error']} | {found['hint']}"


def test_a_file_is_checked_before_any_chain_or_vault_exists(home: Path) -> None:
    found = check("mine.csv", "--task", "task.toml")
    assert (found["rows"], found["rows_rejected"], found["duplicates"]) == (200, 1, 2)
    (problem,) = found["problems"]
    assert (problem["line"], problem["column"], problem["value"]) == (5, TARGET, "5")
    assert problem["broke"].startswith("below the lower bound")
    assert found["unseen"][0]["values"][0]["first_line"] == 7
    assert found["drift"]["public_rows"] == 300
    assert "Nothing of it was sent anywhere" in found["stays_here"]
    assert sorted(path.name for path in home.iterdir()) == ["mine.csv", "public.csv", "task.toml"]


def test_parquet_and_csv_of_one_table_give_one_report(home: Path) -> None:
    text = pd.read_csv("mine.csv", dtype=str, keep_default_na=False)
    text.to_parquet("mine.parquet", index=False)
    first = check("mine.csv", "--task", "task.toml")
    second = check("mine.parquet", "--task", "task.toml")
    assert (second["place"], second["problems"][0]["line"]) == ("row", 4)
    for each in (first, second):
        for key in ("file", "place", "problems", "duplicate_rows", "unseen"):
            del each[key]
    assert first == second


def test_the_terminal_shows_it_in_words(home: Path) -> None:
    result = run("contributor", "check", "mine.csv", "--task", "task.toml")
    assert result.exit_code == 0, result.output
    assert "199 of 200 rows count" in result.stdout
    assert f"line 5, {TARGET}: got '5', expected" in result.stdout
    assert "[bold]castle[/]" in result.stdout
    assert "\x1b[31m" not in result.stdout
    assert "2 duplicates of an earlier row" in result.stdout
    assert "public" in result.stdout
    assert "for you alone" in result.stdout


def test_the_page_is_written_and_nothing_else_is_overwritten(home: Path) -> None:
    found = check("mine.csv", "--task", "task.toml", "--html", "report.html")
    assert found["html"] == "report.html"
    assert "<svg" in (home / "report.html").read_text(encoding="utf-8")
    check("mine.csv", "--task", "task.toml", "--html", "report.html")
    before = (home / "mine.csv").read_bytes()
    assert "is the file itself" in refused("mine.csv", "--task", "task.toml", "--html", "mine.csv")
    assert "no earlier report" in refused("mine.csv", "--task", "task.toml", "--html", "public.csv")
    assert (home / "mine.csv").read_bytes() == before


def test_a_file_of_which_no_row_counts_is_reported_and_refused(home: Path) -> None:
    frame = records()
    frame[TARGET] = -1
    frame.to_csv("useless.csv", index=False)
    words = ("contributor", "check", "useless.csv", "--task", "task.toml")
    result = run(*words, "--json", "--html", "report.html")
    assert result.exit_code == 2, result.output
    found = json.loads(result.stdout)
    assert found["error"] == "no row of useless.csv counts: all 200 are rejected"
    assert found["hint"]
    assert (found["rows"], found["rows_that_count"], found["rows_rejected"]) == (200, 0, 200)
    assert {problem["column"] for problem in found["problems"]} == {TARGET}
    assert (home / "report.html").exists()
    told = run(*words)
    assert told.exit_code == 2, told.output
    assert "0 of 200 rows count" in told.stdout
    assert f"200 rows rejected: {TARGET} below the lower bound" in told.stdout
    assert "refused no row of useless.csv counts: all 200 are rejected" in told.stderr
    frame.loc[0] = records().loc[0]
    frame.to_csv("useless.csv", index=False)
    found = check("useless.csv", "--task", "task.toml")
    assert found["rows_that_count"] == 1
    assert "error" not in found


def test_a_file_without_rows_is_refused(home: Path) -> None:
    records().head(0).to_csv("bare.csv", index=False)
    records().head(0).astype(str).to_parquet("bare.parquet", index=False)
    for name in ("bare.csv", "bare.parquet"):
        assert f"{name} is empty" in refused(name, "--task", "task.toml")


def make_record(home: Path) -> Task:
    text = (home / "task.toml").read_text().replace('family = "kernel"', 'family = "mlp"')
    text = text.replace('rule = "wiener"', 'rule = "sum"')
    store = LocalStore(home / "blocks")
    public = (home / "public.csv").read_bytes()
    return build_task(
        parse_taskfile(text), public, store.put, bundle_sha256="ab" * 32, accounting=accounting
    )


def test_a_task_s_record_will_do_and_finds_its_public_rows(home: Path) -> None:
    record = make_record(home)
    (home / "task.json").write_bytes(record.canonical())
    from_file = check("mine.csv", "--task", "task.toml")
    assert "public rows are not at hand" in check("mine.csv", "--task", "task.json")["no_drift"]
    with_rows = check("mine.csv", "--task", "task.json", "--public", "public.csv")
    assert with_rows["problems"] == from_file["problems"]
    assert with_rows["drift"] == from_file["drift"]
    assert record.public_rows is not None
    sha256 = hashlib.sha256((home / "public.csv").read_bytes()).hexdigest()
    assert sha256 in refused("mine.csv", "--task", "task.json", "--public", "mine.csv")
    (home / "covalue.toml").write_text('[store]\npath = "blocks"\n')
    assert check("mine.csv", "--task", "task.json")["drift"] == from_file["drift"]


def test_a_missing_unit_column_is_refused(home: Path) -> None:
    text = (home / "task.toml").read_text()
    old = 'kind = "row"\nmax_rows = 1\n'
    assert old in text
    (home / "task.toml").write_text(
        text.replace(old, 'kind = "column"\ncolumn = "owner"\nmax_rows = 2\n')
    )
    told = refused("mine.csv", "--task", "task.toml")
    assert "missing column 'owner', which names the privacy unit" in told


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("mine.csv",), "which task"),
        (("nowhere.csv", "--task", "task.toml"), "cannot read nowhere.csv"),
        (("7", "--task", "task.toml"), "a task is named so: --task 7"),
        (("mine.csv", "--task", "nothing.toml"), "cannot read nothing.toml"),
        (("mine.csv", "--task", "mine.csv"), "not a TOML file"),
        (("mine.csv", "--task", "broken.json"), "broken.json is no task's record"),
        (("empty.csv", "--task", "task.toml"), "empty.csv is empty"),
        (("other.csv", "--task", "task.toml"), "missing column"),
        (("fake.parquet", "--task", "task.toml"), "not a Parquet file"),
        (("mine.csv", "--task", "task.toml", "--rebuild-witness"), "without FILE"),
        (("--html", "x.html"), "need a task"),
    ],
)
def test_bad_input_is_refused(home: Path, words: tuple[str, ...], told: str) -> None:
    (home / "empty.csv").write_text("")
    (home / "other.csv").write_text("a,b\n1,2\n")
    (home / "fake.parquet").write_text("a,b\n1,2\n")
    (home / "broken.json").write_text('{"kind": "covalue.task/1"}')
    assert told in refused(*words)
