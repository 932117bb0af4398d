# SPDX-License-Identifier: Apache-2.0
"""`covalue task new`, `validate` and `forecast`, as a stranger types them."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from valuation_world import Blobs, sales

from cli.commands import load_command
from cli.task_cost import cost_of
from dao.cid import of_digest
from dao.records import Task


def run(*arguments: str) -> Result:
    return CliRunner().invoke(load_command("task"), list(arguments))


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    sales(90, seed=1).drop(columns="owner").to_csv("public.csv", index=False)
    return tmp_path


def draft(*more: str) -> Result:
    return run("new", "public.csv", "--target", "price", "--public-n", "600", *more)


def test_a_draft_is_valid_and_its_cid_is_that_of_its_digest(folder: Path) -> None:
    assert draft("--contributors", "3").exit_code == 0
    result = run("validate", "task.toml", "--json")
    assert result.exit_code == 0
    found = json.loads(result.stdout)
    assert found["valid"]
    assert 7.99 < found["epsilon"] <= 8.0
    assert found["cid"] == of_digest(found["sha256"])
    assert any("zero account" in warning for warning in found["warnings"])
    again = json.loads(run("validate", "task.toml", "--json").stdout)
    assert again["cid"] == found["cid"]


def test_validate_counts_training_rounds_and_all_rounds_under_their_names(folder: Path) -> None:
    """As `member show` does of the record that comes of it, and as its own text says."""
    draft("--public-n", "20000")
    file = tomllib.loads((folder / "task.toml").read_text())
    assert file["aggregation"]["rule"] == "wiener"
    assert "calibration" in file
    found = json.loads(run("validate", "task.toml", "--quick", "--json").stdout)
    training, total = file["privacy"]["rounds"], file["privacy"]["rounds"] + 2
    assert (found["rounds"], found["training_rounds"]) == (training, training)
    assert found["total_rounds"] == total
    assert f"over all {total} rounds" in run("validate", "task.toml", "--quick").output


def test_a_record_s_cost_counts_them_under_the_same_names(kernel_task: tuple[Task, Blobs]) -> None:
    task, _ = kernel_task
    told = cost_of(task).as_dict()
    assert told["training_rounds"] == task.policy.rounds
    assert told["total_rounds"] == told["rounds"] == task.total_rounds


def test_a_file_is_not_overwritten_unasked(folder: Path) -> None:
    assert draft().exit_code == 0
    (folder / "task.toml").write_text("mine")
    refused = draft("--json")
    assert refused.exit_code == 2
    assert "exists" in json.loads(refused.stdout)["error"]
    assert (folder / "task.toml").read_text() == "mine"
    assert draft("--force").exit_code == 0


def test_the_public_rows_are_found_from_the_task_file(folder: Path) -> None:
    (folder / "tasks").mkdir()
    assert draft("--output", "tasks/one.toml").exit_code == 0
    assert 'public_rows = "../public.csv"' in (folder / "tasks" / "one.toml").read_text()
    assert run("validate", "tasks/one.toml", "--quick").exit_code == 0


@pytest.mark.parametrize("epsilon", ["nan", "inf", "-inf", "0", "-1", "1e-09"])
def test_an_epsilon_that_is_none_is_refused_and_nothing_is_written(
    folder: Path, epsilon: str
) -> None:
    refused = draft("--epsilon", epsilon, "--json")
    assert refused.exit_code == 2, refused.output
    found = json.loads(refused.stdout)
    assert f"--epsilon {epsilon}: expected a finite number above 0" in found["error"]
    assert "0.5" in found["hint"]
    assert not (folder / "task.toml").exists()


@pytest.mark.parametrize("epsilon", ["1e15", "1e300", "1e-06", "0.125", "3"])
def test_an_epsilon_comes_back_from_the_file_as_it_was_given(folder: Path, epsilon: str) -> None:
    assert draft("--epsilon", epsilon).exit_code == 0
    written = tomllib.loads((folder / "task.toml").read_text())
    assert written["privacy"]["epsilon"] == float(epsilon)


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("epsilon = 8", "epsilon = 0", "privacy.epsilon"),
        ("epsilon = 8", "noise_multiplier = 0", "privacy.noise_multiplier"),
        ("seed = 0", "speed = 0", "model.speed: unknown field"),
        ("public.csv", "gone.csv", "cannot read"),
    ],
)
def test_validate_says_what_is_wrong(folder: Path, old: str, new: str, words: str) -> None:
    draft()
    path = folder / "task.toml"
    path.write_text(path.read_text().replace(old, new))
    refused = run("validate", "task.toml", "--quick", "--json")
    assert refused.exit_code == 2
    assert words in json.loads(refused.stdout)["error"]


def test_forecasts_with_given_and_with_imagined_rows(folder: Path) -> None:
    draft("--contributors", "2")
    sales(600, seed=9).drop(columns="owner").to_csv("mine.csv", index=False)
    given = json.loads(run("forecast", "task.toml", "--data", "mine.csv", "--json").stdout)
    assert given["rows"] == "given"
    assert given["trained_rows"] + given["test_rows"] + given["refused_rows"] == 600
    assert given["trained"]["r2"] > 0.5
    imagined = json.loads(run("forecast", "task.toml", "--json").stdout)
    assert imagined["rows"] == "imagined"
    assert imagined["trained_rows"] == 600
    assert imagined["test_rows"] == 150
