# SPDX-License-Identifier: Apache-2.0
"""`covalue task seal`, `bond` and `unseal`: validation rows that nobody sees before the end."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from chain_world import HOLDER_A, PART_BOND, PART_DATA, PART_SALTS, STRANGER, Job, address
from click.testing import CliRunner

from cli.commands import load_command
from dao.keystore import AccountKey, create_password
from dao.store import LocalStore
from demo.devnet import dev_account


def call(*words: str, code: int = 0) -> dict[str, Any]:
    """A command's JSON."""
    result = CliRunner().invoke(load_command("task"), [*words, "--json"])
    assert result.exit_code == code, result.output
    found: dict[str, Any] = json.loads(result.stdout)
    return found


def settle(folder: Path, job: Job, index: int) -> None:
    """Settings for one devnet account."""
    job.dao.deployment.write(folder / "deployment.json")
    (folder / "password").unlink(missing_ok=True)
    create_password(folder / "password")
    (folder / "key.json").unlink(missing_ok=True)
    secret = bytes(dev_account(index).key)
    AccountKey.create(folder / "key.json", folder / "password", light=True, secret=secret)
    (folder / "covalue.toml").write_text(
        f'[chain]\nrpc_url = "{job.dao.chain.rpc_url}"\n'
        '[account]\nkeystore = "key.json"\npassword_file = "password"\n'
        '[store]\npath = "blocks"\n'
    )


def test_a_seal_is_the_commitment_of_the_spec_and_is_made_once(covalue_folder: Path) -> None:
    rows = b"area,price\n80,100000\n"
    (covalue_folder / "part.csv").write_bytes(rows)
    made = call("seal", "part.csv", "--holder", address(HOLDER_A))
    salt_file = covalue_folder / "part.csv.salt"
    assert salt_file.stat().st_mode & 0o077 == 0
    salt = bytes.fromhex(salt_file.read_text())
    body = b"covalue.part.v1" + salt + hashlib.sha256(rows).digest()
    assert made["commitment"] == hashlib.sha256(body).hexdigest()
    again = call("seal", "part.csv", "--holder", address(HOLDER_A), code=2)
    assert "exists" in again["error"]
    assert "--salt" in again["hint"]
    assert bytes.fromhex(salt_file.read_text()) == salt
    (covalue_folder / "empty.csv").touch()
    assert "empty" in call("seal", "empty.csv", "--holder", address(HOLDER_A), code=2)["error"]


def test_a_holder_bonds_and_opens_a_part_and_nobody_sees_it_before(
    covalue_folder: Path, job: Job
) -> None:
    (covalue_folder / "part.csv").write_bytes(PART_DATA[0])
    (covalue_folder / "part.csv.salt").write_text(PART_SALTS[0])
    job.open()
    task = str(job.task_id)
    settle(covalue_folder, job, STRANGER)
    assert "holds none of the 2 sealed parts" in call("bond", task, code=2)["error"]

    settle(covalue_folder, job, HOLDER_A)
    job.fund(HOLDER_A, PART_BOND, job.dao.ledger.address)
    assert [each["sent"] for each in call("bond", task, "--dry-run")["transactions"]] == [False] * 2
    assert not job.dao.ledger.part_of(job.task_id, 0).bonded
    call("bond", task)
    assert job.dao.ledger.part_of(job.task_id, 0).bonded
    assert "has its bond" in call("bond", task, code=2)["error"]

    early = call("unseal", task, "part.csv", code=2)
    assert "WrongState" in early["error"]
    assert not [path for path in (covalue_folder / "blocks").rglob("*") if path.is_file()]
    (covalue_folder / "other.csv").write_bytes(PART_DATA[0] + b"\n")
    (covalue_folder / "other.csv.salt").write_text(PART_SALTS[0])
    assert "none of the 1 parts" in call("unseal", task, "other.csv", code=2)["error"]


def test_after_the_last_round_the_part_is_published_and_opened(
    covalue_folder: Path, job: Job
) -> None:
    (covalue_folder / "part.csv").write_bytes(PART_DATA[0])
    (covalue_folder / "part.csv.salt").write_text(PART_SALTS[0])
    job.start()
    job.train()
    settle(covalue_folder, job, HOLDER_A)
    call("unseal", str(job.task_id), "part.csv", "--dry-run")
    assert not job.dao.ledger.part_of(job.task_id, 0).opened
    call("unseal", str(job.task_id), "part.csv")
    opened = job.dao.ledger.part_of(job.task_id, 0)
    assert opened.opened
    assert LocalStore(covalue_folder / "blocks").get(opened.part_cid) == PART_DATA[0]
