# SPDX-License-Identifier: Apache-2.0
"""`covalue task propose`: from task.toml to a vote, with everything it names in the store."""

from __future__ import annotations

import json
from pathlib import Path

from chain_world import FOUNDERS, address
from click.testing import CliRunner, Result

from cli.commands import load_command
from dao.deployment import Contracts
from dao.governance import list_proposals
from dao.keystore import AccountKey, create_password
from dao.records import Task
from dao.store import LocalStore
from demo.devnet import dev_account
from demo.market import TARGET, generate_market

COORDINATOR = 7


def run(*arguments: str) -> Result:
    return CliRunner().invoke(load_command("task"), list(arguments))


def prepare(folder: Path, dao: Contracts) -> None:
    """A founder's folder with settings, public rows and a drafted task."""
    dao.deployment.write(folder / "deployment.json")
    create_password(folder / "password")
    secret = bytes(dev_account(FOUNDERS[0]).key)
    AccountKey.create(folder / "key.json", folder / "password", light=True, secret=secret)
    (folder / "covalue.toml").write_text(
        f'[chain]\nrpc_url = "{dao.chain.rpc_url}"\n'
        '[account]\nkeystore = "key.json"\npassword_file = "password"\n'
        '[store]\npath = "blocks"\n'
    )
    generate_market(60, 3).to_csv(folder / "public.csv", index=False)
    drafted = run(
        "new", "public.csv", "--target", TARGET, "--coordinator", address(COORDINATOR).upper()
        .replace("0X", "0x"), "--public-n", "500",
    )  # fmt: skip
    assert drafted.exit_code == 0, drafted.output
    file = folder / "task.toml"
    file.write_text(
        file.read_text().replace('challenge_time = "3 days"', 'challenge_time = "1 hour"')
    )


def test_a_task_file_becomes_a_vote(covalue_folder: Path, dao: Contracts) -> None:
    prepare(covalue_folder, dao)
    dry = json.loads(run("propose", "task.toml", "--dry-run", "--json").stdout)
    assert not dry.get("sent", True), dry
    assert list_proposals(dao) == ()
    assert not (covalue_folder / "blocks").exists()
    result = run("propose", "task.toml", "--json")
    assert result.exit_code == 0, result.output
    sent = json.loads(result.stdout)
    assert sent["sent"]
    assert sent["task_cid"] == dry["task_cid"]
    (proposal,) = list_proposals(dao)
    assert sent["task_cid"] in proposal.description
    store = LocalStore(covalue_folder / "blocks")
    task = Task.parse(store.get(sent["task_cid"]))
    assert task.digest() == sent["task_digest"]
    assert task.terms.coordinator == address(COORDINATOR)
    assert task.public_rows is not None
    assert store.get(task.public_rows.cid) == (covalue_folder / "public.csv").read_bytes()
    for ref in (task.model.setup, task.model.initial):
        assert len(store.get(ref.cid)) == ref.size


def test_a_wrong_task_file_is_refused_before_anything_is_stored(
    covalue_folder: Path, dao: Contracts
) -> None:
    prepare(covalue_folder, dao)
    path = covalue_folder / "task.toml"
    path.write_text(path.read_text().replace("delta = 1e-5", ""))
    refused = run("propose", "task.toml", "--json")
    assert refused.exit_code == 2
    assert "privacy.delta: missing" in json.loads(refused.stdout)["error"]
    assert not (covalue_folder / "blocks").exists()
