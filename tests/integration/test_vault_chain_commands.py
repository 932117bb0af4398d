# SPDX-License-Identifier: Apache-2.0
"""`covalue contributor` and `covalue coordinator` against a real chain, from init to claim."""

import json
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import tomli_w
from typer.testing import CliRunner

from cli.contributor import app as contributor
from cli.coordinator import app as coordinator
from dao.contracts.task_types import TaskState
from dao.keystore import AccountKey, create_password
from dao.settings import load_settings
from demo.devnet import Devnet, dev_account
from demo.simulation import simulated_client_app
from fl_server.coordinate import train_task
from fl_server.opening import open_context
from tests.federation_town import (
    COORDINATOR,
    COVAL,
    DEPLOYER,
    FIRST_CONTRIBUTOR,
    Town,
    address,
    build_town,
)
from tests.plain_grid import PlainGrid

NEWCOMER = 30


@pytest.fixture(scope="module")
def town(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Town]:
    with Devnet() as net:
        town = build_town(tmp_path_factory.mktemp("town"), net, rows_each=60, rounds=2)
        town.share_store()
        yield town


def keystore(folder: Path, index: int) -> dict[str, str]:
    """A devnet account's keystore; the settings that name it."""
    create_password(folder / "account.password")
    AccountKey.create(
        folder / "account.json",
        folder / "account.password",
        light=True,
        secret=bytes(dev_account(index).key),
    )
    return {"keystore": "account.json", "password_file": "account.password"}


def call(app: Any, *words: str, config: Path, code: int = 0) -> dict[str, Any]:
    """A command's JSON."""
    result = CliRunner().invoke(app, [*words, "--config", str(config), "--json"])
    assert result.exit_code == code, result.output + repr(result.exception)
    found: dict[str, Any] = json.loads(result.stdout.strip().splitlines()[-1])
    return found


@pytest.fixture(scope="module")
def newcomer(town: Town) -> Path:
    """Settings of someone who has COVAL, records and nothing else."""
    home = town.folder / "newcomer"
    home.mkdir()
    settings = {
        "chain": {"rpc_url": town.net.rpc_url, "deployment": "../deployment.json"},
        "store": {"path": "../coordinator/store"},
        "account": keystore(home, NEWCOMER),
        "vault": {
            "path": "vault",
            "password_file": "vault.password",
            "witness_path": "witness.json",
        },
    }
    (home / "covalue.toml").write_text(tomli_w.dumps(settings))
    records = town.vault_settings(0).parent / "vault" / "records.csv"
    lines = records.read_text().splitlines()
    (home / "sales.csv").write_text("\n".join([*lines, lines[-1].replace(",", ",x", 1)]) + "\n")
    town.send(DEPLOYER, town.dao.token.transfer(address(NEWCOMER), 100 * COVAL))
    return home / "covalue.toml"


def test_from_init_to_exit(town: Town, newcomer: Path) -> None:
    home = newcomer.parent
    made = call(contributor, "init", str(home / "sales.csv"), config=newcomer)
    assert made["account"] == address(NEWCOMER)
    again = call(contributor, "init", str(home / "sales.csv"), config=newcomer, code=2)
    assert "vault already" in again["error"]
    for name in ("bls.json", "node"):
        assert (home / "vault" / name).stat().st_mode & 0o077 == 0

    checked = call(contributor, "check", "--task", str(town.task_id), config=newcomer)
    assert (checked["rows"], checked["rows_that_count"]) == (61, 60)
    assert checked["problems"][0]["line"] == 62
    assert (checked["affordable"], checked["refused_because"]) == (True, None)
    alone = call(
        contributor, "check", str(home / "sales.csv"), "--task", str(town.task_id), config=newcomer
    )
    assert "ledger_entries" not in alone
    assert {key: checked[key] for key in alone} == alone | {"file": "records.csv"}

    low = call(contributor, "register", "--stake", "1", config=newcomer, code=2)
    assert "least" in low["error"]
    tried = call(contributor, "register", "--stake", "20", "--dry-run", config=newcomer)
    assert [each["sent"] for each in tried["transactions"]] == [False, False]
    assert not town.dao.registry.contributor_of(address(NEWCOMER)).registered
    call(contributor, "register", "--stake", "20", config=newcomer)
    found = call(contributor, "status", config=newcomer)
    assert found["registered"] is True
    assert found["stake_wei"] == str(20 * COVAL)

    refused = call(contributor, "join", str(town.task_id), config=newcomer, code=2)
    assert refused["error"]

    before = town.dao.registry.contributor_of(address(NEWCOMER)).bls_public_key
    call(contributor, "rotate-keys", "--dry-run", config=newcomer)
    assert town.dao.registry.contributor_of(address(NEWCOMER)).bls_public_key == before
    call(contributor, "rotate-keys", config=newcomer)
    assert town.dao.registry.contributor_of(address(NEWCOMER)).bls_public_key != before
    assert (home / "vault" / "bls.json.old-1").exists()
    call(contributor, "status", config=newcomer)

    call(contributor, "exit", config=newcomer)
    early = call(contributor, "exit", config=newcomer, code=2)
    assert "can be taken back in" in early["error"]
    town.net.advance(7201)
    call(contributor, "exit", config=newcomer)
    assert town.dao.token.balance_of(address(NEWCOMER)) == 100 * COVAL


def test_a_task_is_trained_and_claimed(town: Town) -> None:
    home = town.folder / "coordinator"
    settings = tomllib.loads((home / "covalue.toml").read_text())
    settings["account"] = keystore(home, COORDINATOR)
    (home / "covalue.toml").write_text(tomli_w.dumps(settings))
    assert (
        call(coordinator, "run", str(town.task_id), "--dry-run", config=home / "covalue.toml")[
            "calls"
        ]
        == []
    ), "bond and start are done"

    context = open_context(
        load_settings(home / "covalue.toml"),
        task_id=town.task_id,
        progress=lambda each: town.open_parts() if each.kind == "revealing" else None,
        authenticated=False,
    )
    files = tuple(str(path) for path in town.vaults)
    train_task(PlainGrid(simulated_client_app(files), town.contributors), context)
    context.journal.close()

    standing = call(coordinator, "status", str(town.task_id), config=home / "covalue.toml")
    assert (standing["state"], standing["rounds_signed"]) == ("closed", 2)
    early = call(coordinator, "finalise", str(town.task_id), config=home / "covalue.toml", code=2)
    assert early["error"]
    town.net.advance(town.task.terms.challenge_seconds + 1)
    call(coordinator, "finalise", str(town.task_id), config=home / "covalue.toml")
    assert town.dao.ledger.task_of(town.task_id).state is TaskState.FINALISED

    paid = 0
    for place, path in enumerate(town.vaults):
        settings = tomllib.loads(path.read_text())
        settings["account"] = keystore(path.parent, FIRST_CONTRIBUTOR + place)
        path.write_text(tomli_w.dumps(settings))
        account = address(FIRST_CONTRIBUTOR + place)
        before = town.dao.token.balance_of(account)
        result = CliRunner().invoke(
            contributor, ["claim", str(town.task_id), "--config", str(path), "--json"]
        )
        gained = town.dao.token.balance_of(account) - before
        assert (result.exit_code == 0) == (gained > 0), result.output
        paid += gained
        second = call(contributor, "claim", str(town.task_id), config=path, code=2)
        assert "claimed already" in second["error"] or "earned nothing" in second["error"]
    final = town.dao.ledger.final_of(town.task_id)
    assert paid == final.payout_total_wei


def test_certificates_are_made_once(town: Town) -> None:
    config = town.folder / "coordinator" / "covalue.toml"
    made = call(coordinator, "certs", "--host", "127.0.0.1", config=config)
    assert Path(made["ca"]).exists()
    again = call(coordinator, "certs", "--host", "127.0.0.1", config=config, code=2)
    assert "exists already" in again["error"]
