# SPDX-License-Identifier: Apache-2.0
"""`covalue dao` and `covalue member`: what people and programs read, and the way out of errors."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from chain_world import COVAL, DEPLOY_FILE, FOUNDERS, STRANGER, address, send, small_task
from click.testing import Result
from typer.testing import CliRunner

from cli.dao import app as dao_app
from cli.member import app as member_app
from dao.chain import Call
from dao.cid import of_digest
from dao.contracts.timelock import ROLES
from dao.deploy_file import EXAMPLE
from dao.deployment import Contracts, Deployment
from dao.governance import propose, propose_task
from dao.keystore import AccountKey, create_password
from demo.devnet import Devnet, dev_account


class Desk:
    """A member's folder: covalue.toml, a keystore, the deployment file."""

    def __init__(self, folder: Path, dao: Contracts) -> None:
        self.folder, self.dao = folder, dao
        dao.deployment.write(folder / "deployment.json")
        for index in (*FOUNDERS, STRANGER):
            password = folder / f"{index}.password"
            create_password(password)
            secret = bytes(dev_account(index).key)
            AccountKey.create(folder / f"{index}.json", password, light=True, secret=secret)

    def invoke(self, app: Any, index: int, *arguments: str) -> Result:
        (self.folder / "covalue.toml").write_text(
            f'[chain]\nrpc_url = "{self.dao.chain.rpc_url}"\n'
            f'[account]\nkeystore = "{index}.json"\npassword_file = "{index}.password"\n'
        )
        return CliRunner().invoke(app, list(arguments))

    def ask(self, index: int, *arguments: str, code: int = 0, app: Any = member_app) -> Any:
        """The JSON object of a command, and nothing else on stdout."""
        result = self.invoke(app, index, *arguments, "--json")
        assert result.exit_code == code, result.output
        return json.loads(result.stdout)


@pytest.fixture
def desk(covalue_folder: Path, dao: Contracts) -> Desk:
    return Desk(covalue_folder, dao)


def propose_small_task(dao: Contracts) -> None:
    task = small_task()
    send(dao, FOUNDERS[0], propose_task(dao, task, of_digest(task.digest())))


def test_a_vote_by_commands(desk: Desk, devnet: Devnet) -> None:
    dao = desk.dao
    propose_small_task(dao)
    listed = desk.ask(0, "proposals")["proposals"]
    assert [(item["number"], item["state"]) for item in listed] == [(1, "pending")]
    assert listed[0]["title"] == "Open the task: Homes of a town"
    shown = desk.ask(0, "show", "1")
    assert shown["actions"][0]["function"] == "openTask"
    assert shown["trials"] == [{"passes": True, "says": "would pass and return taskId 1"}]
    early = desk.ask(0, "vote", "1", "for", code=2)
    assert "pending" in early["error"]
    devnet.advance(61)
    dry = desk.ask(0, "vote", "1", "for", "--dry-run")
    assert (dry["sent"], dry["transaction"]) == (False, None)
    assert dry["votes_wei"] == str(500_000 * COVAL)
    assert not dao.governor.has_voted(int(listed[0]["id"]), address(0))
    assert desk.ask(0, "vote", "1", "for", "--reason", "good")["sent"]
    assert dao.governor.has_voted(int(listed[0]["id"]), address(0))
    again = desk.ask(0, "vote", "1", "against", code=2)
    assert "GovernorAlreadyCastVote" in again["error"]
    none = desk.ask(STRANGER, "vote", "1", "for", code=2)
    assert "had no votes" in none["error"]
    assert "delegate" in none["hint"]
    devnet.advance(700)
    assert desk.ask(STRANGER, "queue", "1")["sent"]
    assert "can be executed in" in desk.ask(STRANGER, "execute", "1", code=2)["error"]
    devnet.advance(301)
    assert desk.ask(STRANGER, "execute", "1")["sent"]
    assert dao.ledger.task_count() == 1
    assert desk.ask(0, "proposals", "--open")["proposals"] == []


def test_people_read_the_same(desk: Desk) -> None:
    propose_small_task(desk.dao)
    text = desk.invoke(member_app, 0, "show", "1").stdout
    for line in (
        "Proposal 1: Open the task: Homes of a town",
        "TaskLedger.openTask at",
        "terms.budget = 1000000000000000000000 (1,000 COVAL)",
        f"terms.parts[1].holder = {address(5)}",
        "tried now: would pass and return taskId 1",
    ):
        assert line in text


def test_hostile_proposals_are_shown_for_what_they_are(desk: Desk) -> None:
    """Text of a proposer can neither move the cursor nor hide other proposals."""
    dao = desk.dao
    propose_small_task(dao)
    calls = [
        Call(address(STRANGER), b"\x01\x02\x03\x04", 5, ""),
        dao.timelock.grant_role("admin", address(STRANGER)),
    ]
    send(dao, FOUNDERS[0], propose(dao, calls, "Tidy\x1b[2J up [red]", check=False))
    assert len(desk.ask(0, "proposals")["proposals"]) == 2
    text = desk.invoke(member_app, 0, "show", "2").stdout
    assert "\x1b[2J" not in text
    assert "Proposal 2: Tidy?[2J up [red]" in text
    assert "UNKNOWN CONTRACT" in text
    assert "WARNING: gives an account power over the timelock" in text
    assert "Actions were tried one by one" in text


def test_delegation(desk: Desk) -> None:
    dry = desk.ask(1, "delegate", address(2), "--dry-run")
    assert dry["call"][1] == f"  delegatee = {address(2)}"
    assert desk.dao.token.delegates(address(1)) == address(1)
    desk.ask(1, "delegate", address(2))
    assert desk.dao.token.delegates(address(1)) == address(2)
    desk.ask(1, "delegate")
    assert desk.dao.token.delegates(address(1)) == address(1)
    assert "not an account" in desk.ask(1, "delegate", "alice", code=2)["error"]


def test_without_an_account_reading_works_and_sending_says_why(desk: Desk) -> None:
    propose_small_task(desk.dao)
    toml = desk.folder / "covalue.toml"
    toml.write_text(f'[chain]\nrpc_url = "{desk.dao.chain.rpc_url}"\n')
    runner = CliRunner()
    assert runner.invoke(member_app, ["show", "1"]).exit_code == 0
    refused = runner.invoke(member_app, ["delegate", "--json"])
    assert refused.exit_code == 2
    answer = json.loads(refused.stdout)
    assert "no account is set" in answer["error"]
    assert "account.keystore" in answer["hint"]


def test_show_proves_again(desk: Desk) -> None:
    shown = desk.ask(0, "show", app=dao_app)
    assert shown["proved"] is True
    assert shown["parameters"]["timelock_delay_seconds"] == 300
    assert len(shown["checks"]) > 3 * len(ROLES)
    text = desk.invoke(dao_app, 0, "show", "-v").stdout
    assert "checks passed: code, links, owners and roles" in text
    assert "1,000,000 COVAL" in text


def test_show_fails_where_the_proof_fails(desk: Desk) -> None:
    placed = dict(desk.dao.deployment.contracts)
    swapped = placed["ModelRegistry"].model_copy(
        update={"transaction": placed["TaskLedger"].transaction}
    )
    forged = desk.dao.deployment.model_copy(
        update={"contracts": {**placed, "ModelRegistry": swapped}}
    )
    forged.write(desk.folder / "deployment.json")
    assert desk.ask(0, "show", app=dao_app, code=2)["proved"] is False
    assert desk.invoke(dao_app, 0, "show").exit_code == 2


def test_deploy_by_command(desk: Desk, devnet: Devnet) -> None:
    (desk.folder / "deploy.toml").write_text(DEPLOY_FILE)
    existing = desk.ask(0, "deploy", "deploy.toml", app=dao_app, code=2)
    assert "exists already" in existing["error"]
    nonce = ("eth_getTransactionCount", address(0), "latest")
    before = devnet.chain.request(*nonce)
    dry = desk.ask(0, "deploy", "deploy.toml", "--out", "new.json", "--dry-run", app=dao_app)
    assert (dry["sent"], devnet.chain.request(*nonce)) == (False, before)
    assert not (desk.folder / "new.json").exists()
    assert "deploy TaskLedger" in dry["steps"]
    done = desk.ask(0, "deploy", "deploy.toml", "--out", "new.json", app=dao_app)
    assert done["proved"] is True
    written = Deployment.read(desk.folder / "new.json")
    assert written.address_of("TaskLedger") == done["contracts"]["TaskLedger"]
    assert "name a deploy file" in desk.ask(0, "deploy", app=dao_app, code=2)["error"]
    assert desk.ask(0, "deploy", "--example", app=dao_app)["file"] == EXAMPLE


@pytest.mark.parametrize("app", [dao_app, member_app])
def test_every_command_explains_itself(app: Any) -> None:
    runner = CliRunner()
    for command in app.registered_commands:
        name = command.name or command.callback.__name__
        said = runner.invoke(app, [name, "--help"])
        assert said.exit_code == 0
        assert "--json" in said.stdout
        assert command.callback.__doc__.split(".")[0][:20] in said.stdout
