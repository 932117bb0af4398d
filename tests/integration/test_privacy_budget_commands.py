# SPDX-License-Identifier: Apache-2.0
"""The epsilon of a task before the vote, before joining and after: one number, told five times;
and what `contributor status`, `join` and `run` do with a ledger that is short, stale or in use."""

from __future__ import annotations

import fcntl
import json
import shutil
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import tomli_w
from typer.testing import CliRunner

import tests.federation_town as federation
from cli.contributor import app as contributor
from cli.member import app as member
from cli.task import app as tasks
from dao.keystore import AccountKey, create_password
from dao.records import Task
from dao.settings import load_settings
from demo.devnet import Devnet, dev_account
from demo.simulation import simulated_client_app
from fl_client.ledger_file import LedgerFile
from fl_client.opening import policy_floor, read_account
from fl_server.coordinate import train_task
from fl_server.opening import open_context
from privacy.accounting import policy_epsilon_micro
from privacy.ledger import LedgerState
from privacy.ledger_entry import LedgerEntry
from tests.federation_town import (
    COORDINATOR,
    COVAL,
    DEPLOYER,
    Town,
    address,
    build_town,
)
from tests.plain_grid import PlainGrid

NEWCOMER = 30


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Town, Path]]:
    """A town whose task has run, and the task file that it was made from."""
    folder = tmp_path_factory.mktemp("town")
    real = federation.build_task
    given: list[tuple[Any, bytes]] = []

    def watched(taskfile: Any, public: bytes, *args: Any, **kwargs: Any) -> Task:
        given.append((taskfile, public))
        return real(taskfile, public, *args, **kwargs)

    with Devnet() as net:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(federation, "build_task", watched)
            town = build_town(folder, net, contributors=2, rows_each=60, rounds=2)
        taskfile, public = given[0]
        (folder / "public.csv").write_bytes(public)
        document = taskfile.model_dump(mode="json", by_alias=True, exclude_none=True)
        (folder / "task.toml").write_text(tomli_w.dumps(document))
        for path in town.vaults:
            change_settings(path, store={"path": "../coordinator/store"})
        yield town, folder / "task.toml"


def change_settings(path: Path, **groups: dict[str, Any]) -> None:
    settings = tomllib.loads(path.read_text())
    for group, values in groups.items():
        settings[group] = settings.get(group, {}) | values
    path.write_text(tomli_w.dumps(settings))


def ask(app: Any, *words: str, code: int = 0) -> dict[str, Any]:
    result = CliRunner().invoke(app, [*words, "--json"])
    assert result.exit_code == code, result.output + repr(result.exception)
    found: dict[str, Any] = json.loads(result.stdout.strip().splitlines()[-1])
    return found


def train(town: Town) -> None:
    context = open_context(
        town.coordinator,
        task_id=town.task_id,
        progress=lambda each: town.open_parts() if each.kind == "revealing" else None,
        authenticated=False,
        account=dev_account(COORDINATOR),
    )
    files = tuple(str(path) for path in town.vaults)
    train_task(PlainGrid(simulated_client_app(files), town.contributors), context)
    context.journal.close()


def sent_by_newcomer(town: Town) -> int:
    count = town.net.chain.request("eth_getTransactionCount", address(NEWCOMER), "latest")
    return int(count, 16)


@pytest.fixture(scope="module")
def newcomer(built: tuple[Town, Path]) -> Path:
    """A registered contributor with records and an empty ledger."""
    town, _ = built
    home = town.folder / "newcomer"
    home.mkdir()
    create_password(home / "account.password")
    AccountKey.create(
        home / "account.json",
        home / "account.password",
        light=True,
        secret=bytes(dev_account(NEWCOMER).key),
    )
    settings = {
        "chain": {"rpc_url": town.net.rpc_url, "deployment": "../deployment.json"},
        "store": {"path": "../coordinator/store"},
        "account": {"keystore": "account.json", "password_file": "account.password"},
        "vault": {
            "path": "vault",
            "password_file": "vault.password",
            "witness_path": "witness.json",
            "min_noise_multiplier_micro": 1,
        },
    }
    config = home / "covalue.toml"
    config.write_text(tomli_w.dumps(settings))
    shutil.copy(town.vault_settings(0).parent / "vault" / "records.csv", home / "sales.csv")
    town.send(DEPLOYER, town.dao.token.transfer(address(NEWCOMER), 100 * COVAL))
    ask(contributor, "init", str(home / "sales.csv"), "--config", str(config))
    return config


@dataclass(frozen=True)
class Told:
    """What was said of the task before it ran: by `task validate`, `member show`, `join` (of an
    open task that costs the same; `too_late` of this one, which runs)."""

    validated: dict[str, Any]
    voted: dict[str, Any]
    joining: dict[str, Any]
    too_late: dict[str, Any]


def open_another(town: Town, title: str) -> int:
    """The number of a further task that differs from the town's in its title alone."""
    first_id, first = town.task_id, town.task
    town.task = town.replace_task(title=title)
    federation._vote_open(town, town.store.put(town.task.canonical()).cid)
    opened = town.task_id
    town.task_id, town.task = first_id, first
    return opened


@pytest.fixture(scope="module")
def told_before(built: tuple[Town, Path], newcomer: Path) -> Told:
    town, taskfile = built
    mine = str(town.vault_settings(0))
    assert ask(contributor, "status", "--config", mine)["tasks"] == []
    config = ("--config", str(newcomer))
    ask(contributor, "register", "--stake", "60", *config)
    joinable = str(open_another(town, "Homes that nobody began with"))
    return Told(
        validated=ask(tasks, "validate", str(taskfile), "--quick"),
        voted=ask(member, "show", "1", *config),
        joining=ask(contributor, "join", joinable, "--dry-run", *config),
        too_late=ask(contributor, "join", str(town.task_id), "--dry-run", *config, code=2),
    )


@pytest.fixture(scope="module")
def trained(built: tuple[Town, Path], told_before: Told) -> Town:
    """The town after its task has run and closed."""
    town, _ = built
    train(town)
    return town


def test_the_epsilon_is_the_same_before_the_vote_before_joining_and_after(
    told_before: Told, trained: Town
) -> None:
    town = trained
    expected = policy_epsilon_micro(town.task.policy)
    assert told_before.validated["epsilon_micro"] == expected
    (voted,) = told_before.voted["tasks"]
    assert (voted["epsilon_micro"], voted["task_digest"]) == (expected, town.task.digest())
    assert told_before.joining["epsilon_micro"] == expected
    mine = town.vault_settings(0)
    after = ask(contributor, "status", "--config", str(mine))
    (told,) = after["tasks"]
    assert (told["epsilon_micro"], told["spent_epsilon_micro"]) == (expected, expected)
    assert (told["answered"], told["rounds"]) == (town.task.total_rounds,) * 2
    assert (told["task"], told["title"]) == (town.task_id, town.task.title)
    assert town.dao.ledger.final_of(town.task_id).epsilon_micro == expected
    # What joining said would be left is what is left, of the newcomer's own, smaller limit.
    left = told_before.joining["epsilon_left_micro"]
    assert left < after["epsilon_left_micro"]
    change_settings(mine, vault={"max_epsilon_micro": 10_000_000})
    assert ask(contributor, "status", "--config", str(mine))["epsilon_left_micro"] == left
    change_settings(mine, vault={"max_epsilon_micro": 20_000_000})


def test_a_dry_run_says_why_a_task_cannot_be_joined(
    told_before: Told, trained: Town, newcomer: Path
) -> None:
    """The question that join itself asks, while the task runs and after it has closed."""
    assert "WrongState" in told_before.too_late["error"]
    assert "state running" in told_before.too_late["error"]
    words = ("join", str(trained.task_id), "--config", str(newcomer))
    before = sent_by_newcomer(trained)
    dry = ask(contributor, *words, "--dry-run", code=2)
    assert "state closed" in dry["error"]
    assert dry == ask(contributor, *words, code=2)
    assert sent_by_newcomer(trained) == before


def test_status_draws_the_budget_by_task(trained: Town) -> None:
    town = trained
    result = CliRunner().invoke(
        contributor,
        ["status", "--config", str(town.vault_settings(0))],
        env={"COLUMNS": "120"},
    )
    assert result.exit_code == 0, result.output
    assert f"{town.task_id} {town.task.title}" in result.stdout
    assert "█" in result.stdout
    assert "░" in result.stdout
    assert "privacy budget for life: epsilon 20 at delta 1e-05" in result.stdout


def test_join_refuses_what_the_ledger_cannot_afford_before_it_sends(
    built: tuple[Town, Path], newcomer: Path
) -> None:
    town, _ = built
    number = str(town.task_id)
    before = sent_by_newcomer(town)
    change_settings(newcomer, vault={"max_epsilon_micro": 7_000_000})
    refused = ask(contributor, "join", number, "--config", str(newcomer), code=2)
    assert "costs epsilon" in refused["error"]
    assert "lifetime" in refused["error"]
    change_settings(
        newcomer, vault={"max_epsilon_micro": 10_000_000, "max_task_epsilon_micro": 5_000_000}
    )
    refused = ask(contributor, "join", number, "--config", str(newcomer), code=2)
    assert "allows at most 5000000" in refused["error"]
    change_settings(newcomer, vault={"max_task_epsilon_micro": 8_000_000})
    assert sent_by_newcomer(town) == before
    change_settings(newcomer, store={"path": "elsewhere"})
    refused = ask(contributor, "join", number, "--config", str(newcomer), code=2)
    assert "nobody can say what it costs" in refused["error"]
    assert "store.peers" in refused["hint"]
    change_settings(newcomer, store={"path": "../coordinator/store"})


@pytest.mark.promise(1)
def test_a_ledger_older_than_committed_receipts_is_refused_and_left_alone(
    trained: Town,
) -> None:
    """Ledger, witness and answers of before the task, all restored together: only the chain knows
    better."""
    town = trained
    home = town.vault_settings(1).parent
    kept = home.parent / "kept"
    shutil.copytree(home, kept)
    ledger = home / "vault" / "ledger.jsonl"
    lines = ledger.read_bytes().splitlines(keepends=True)
    older = lines[0] + lines[1]
    ledger.write_bytes(older)
    (home / "witness.json").unlink()
    shutil.rmtree(home / "vault" / "answers")
    config = str(town.vault_settings(1))
    refused = ask(contributor, "check", "--rebuild-witness", "--config", config, code=2)
    assert "older than the vault's own answers" in refused["error"]
    assert not (home / "witness.json").exists()
    entries = [LedgerEntry.parse(line) for line in older.splitlines()]
    (home / "witness.json").write_text(
        json.dumps({"length": 2, "head": LedgerState.replay(entries).head})
    )
    for words in (("status",), ("check",), ("run",), ("join", str(town.task_id))):
        refused = ask(contributor, *words, "--config", config, code=2)
        assert "older than the vault's own answers" in refused["error"]
        assert "round 2" in refused["error"]
        assert "ledger.jsonl" in refused["hint"]
    assert ledger.read_bytes() == older
    shutil.rmtree(home)
    shutil.copytree(kept, home)
    ask(contributor, "status", "--config", config)


def test_a_second_service_on_one_vault_is_refused_at_once(built: tuple[Town, Path]) -> None:
    town, _ = built
    vault = load_settings(town.vault_settings(0)).vault.path
    with (vault / "service.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        file.write("4711")
        file.flush()
        refused = ask(contributor, "run", "--config", str(town.vault_settings(0)), code=2)
    assert "served by process 4711 already" in refused["error"]
    assert refused["hint"]


def test_a_task_that_is_over_gives_back_what_it_never_asked_for(
    trained: Town,
) -> None:
    """A second task is aborted after its first round; what its other round had reserved returns."""
    town = trained
    opened = open_another(town, "Homes that nobody finished")
    second = town.replace_task(title="Homes that nobody finished")
    config = str(town.vault_settings(0))
    before = ask(contributor, "status", "--config", config)
    reserve_and_answer(town.vault_settings(0), second)
    during = ask(contributor, "status", "--config", config)
    told = during["tasks"][1]
    assert (told["task"], told["answered"], told["state"]) == (opened, 1, "open")
    assert told["epsilon_micro"] == policy_epsilon_micro(second.policy)
    assert told["can_give_back"] is False
    kept = ask(contributor, "status", "--give-back", "--config", config)
    assert kept["share_charged_micro"] == during["share_charged_micro"]

    town.net.advance_to(town.dao.ledger.task_of(opened).deadline + 1)
    town.send(DEPLOYER, town.dao.ledger.abort(opened))
    over = ask(contributor, "status", "--config", config)
    assert over["tasks"][1]["can_give_back"] is True
    freed = ask(contributor, "status", "--give-back", "--config", config)
    told = freed["tasks"][1]
    assert (told["ended"], told["can_give_back"], told["state"]) == (True, False, "aborted")
    assert told["charged_share_micro"] == told["spent_share_micro"] > 0
    assert before["share_charged_micro"] < freed["share_charged_micro"]
    assert freed["share_charged_micro"] < over["share_charged_micro"]
    assert freed["epsilon_left_micro"] > over["epsilon_left_micro"]


def reserve_and_answer(config: Path, task: Task) -> None:
    """Round 1 of a task in a vault's ledger, as after its answer."""
    settings = load_settings(config).vault
    file = LedgerFile(
        settings.path / "ledger.jsonl",
        witness=settings.witness_path,
        account=read_account(settings.path),
    )
    limit = policy_floor(settings).lifetime_limit
    entry = file.load().reserve(task_digest=task.digest(), policy=task.policy, limit=limit)
    assert entry is not None
    entry = file.append(entry).answer(
        task_digest=task.digest(),
        round_number=1,
        base_model_sha256="ab" * 32,
        update_sha256="cd" * 32,
    )
    assert entry is not None
    file.append(entry)
