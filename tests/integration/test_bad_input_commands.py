# SPDX-License-Identifier: Apache-2.0
"""Bad input at the command line: exit code 2, an object that says what was wrong and what to do,
nothing sent and nothing made."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from chain_world import FOUNDERS, STRANGER, Job, address
from click.testing import CliRunner

from cli.commands import load_command
from dao.contracts.task_types import TaskState
from dao.deployment import Contracts
from dao.governance import list_proposals
from dao.keystore import AccountKey, create_password
from demo.devnet import dev_account
from demo.market import generate_market


def refused(*words: str) -> tuple[str, str]:
    """Message and hint of a command that must refuse, as --json prints them."""
    result = CliRunner().invoke(load_command(words[0]), [*words[1:], "--json"])
    assert result.exit_code == 2, result.output
    found = json.loads(result.stdout)
    assert set(found) == {"error", "hint"}
    return found["error"], found["hint"] or ""


@pytest.fixture
def home(covalue_folder: Path, dao: Contracts) -> Path:
    """A folder with settings and a founder's account."""
    dao.deployment.write(covalue_folder / "deployment.json")
    create_password(covalue_folder / "password")
    secret = bytes(dev_account(FOUNDERS[0]).key)
    AccountKey.create(
        covalue_folder / "key.json", covalue_folder / "password", light=True, secret=secret
    )
    (covalue_folder / "covalue.toml").write_text(
        f'[chain]\nrpc_url = "{dao.chain.rpc_url}"\n'
        '[account]\nkeystore = "key.json"\npassword_file = "password"\n'
        '[store]\npath = "blocks"\n'
        '[vault]\npath = "vault"\npassword_file = "bls.password"\nwitness_path = "witness"\n'
    )
    generate_market(20, 3).to_csv(covalue_folder / "sales.csv", index=False)
    return covalue_folder


@pytest.mark.parametrize(
    ("data", "what", "way_out"),
    [
        (b"", "sales.csv is empty", "header"),
        (b"a,b\n", "no rows below the header", "one line per row"),
        ("a,b\nK\u00f6ln,1\n".encode("latin-1"), "line 2: not UTF-8", "iconv"),
        ("a,b\n1,2\n".encode("utf-16"), "UTF-16, expected UTF-8", "CSV UTF-8"),
        (b"PK\x03\x04\x00\x00", "NUL", "spreadsheet"),
    ],
)
def test_no_vault_is_made_over_a_file_that_is_no_csv(
    home: Path, data: bytes, what: str, way_out: str
) -> None:
    (home / "sales.csv").write_bytes(data)
    error, hint = refused("contributor", "init", "sales.csv")
    assert what in error
    assert way_out in hint
    assert not (home / "vault").exists()


@pytest.mark.parametrize(
    "words",
    [
        ("contributor", "check", "--task", "9"),
        ("contributor", "join", "9"),
        ("contributor", "claim", "9"),
        ("contributor", "challenge", "9", "sales.csv"),
        ("coordinator", "run", "9"),
        ("coordinator", "finalise", "9"),
        ("coordinator", "status", "9"),
        ("model", "propose", "9"),
    ],
)
def test_a_task_that_does_not_exist(home: Path, words: tuple[str, ...]) -> None:
    if words[1] == "check":
        made = CliRunner().invoke(load_command("contributor"), ["init", "sales.csv"])
        assert made.exit_code == 0, made.output
    error, hint = refused(*words)
    assert "there is no task 9" in error
    assert "vote" in hint
    assert not [path for path in (home / "blocks").rglob("*") if path.is_file()]


def test_a_release_is_not_proposed_for_a_task_that_is_not_final(home: Path, job: Job) -> None:
    job.open()
    before = list_proposals(job.dao)
    error, hint = refused("model", "propose", str(job.task_id))
    assert "is open, and only a finalised task can be released" in error
    assert "challenge window" in hint
    assert list_proposals(job.dao) == before


def test_nothing_is_claimed_from_a_task_without_a_result(home: Path, job: Job) -> None:
    job.open()
    error, hint = refused("contributor", "claim", str(job.task_id))
    assert "has no committed result" in error
    assert "finalised" in hint
    error, hint = refused("coordinator", "finalise", str(job.task_id))
    assert "WrongState" in error
    assert "state open" in error
    assert "covalue coordinator status" in hint
    assert job.dao.ledger.task_of(job.task_id).state is TaskState.OPEN


def test_the_api_does_not_start_without_a_key_or_on_no_port(home: Path) -> None:
    error, hint = refused("serve")
    assert "api.signer_keystore" in error
    assert "[api]" in hint
    error, hint = refused("serve", "--port", "99999")
    assert "99999" in error
    assert "--port" in hint


def test_amounts_and_accounts_that_are_none(home: Path) -> None:
    assert CliRunner().invoke(load_command("contributor"), ["init", "sales.csv"]).exit_code == 0
    error, _ = refused("contributor", "register", "--stake", "ten")
    assert "'ten', expected a number of tokens" in error
    error, hint = refused("contributor", "register", "--stake", "0.5")
    assert "below the least" in error
    assert "COVAL" in hint
    error, hint = refused("member", "delegate", address(STRANGER)[:-1])
    assert "not an account" in error
    assert "40 hex digits" in hint
