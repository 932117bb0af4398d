# SPDX-License-Identifier: Apache-2.0
"""A small federation for tests: a devnet with a deployed DAO, an opened task over generated sales,
contributors with vault folders that have joined it, and a coordinator."""

from __future__ import annotations

import hashlib
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import tomli_w

from dao.chain import Call
from dao.contracts.governor import Support
from dao.deploy import deploy
from dao.deploy_file import parse_deploy_file
from dao.deployment import Contracts
from dao.governance import execute, list_proposals, propose_task, queue, vote
from dao.keystore import BlsKey, create_password
from dao.messages import part_commitment
from dao.records import Task
from dao.settings import Settings, load_settings
from dao.store import LocalStore
from demo.devnet import Devnet, dev_account
from demo.market import TARGET, generate_market
from fl_client.bundle import bundle_sha256
from fl_client.enrol import join_call, public_keys, register_calls
from fl_client.node_key import create_node_key, node_key_hash, public_pem
from fl_client.opening import ACCOUNT, BLS_KEYSTORE, NODE_KEY, RECORDS
from privacy import accounting
from valuation.build import build_task
from valuation.draft import draft_task
from valuation.rows import parse_csv
from valuation.taskfile import TaskFile

COVAL = 10**18
DEPLOYER, COORDINATOR, HOLDERS, FIRST_CONTRIBUTOR = 0, 1, (2, 3), 10
SALTS = tuple(hashlib.sha256(f"salt {part}".encode()).hexdigest() for part in range(2))


def address(index: int) -> str:
    """Account `index` of the devnet, lower case."""
    return str(dev_account(index).address).lower()


DEPLOY_FILE = f"""
[[founders]]
address = "{address(0)}"
amount = "1000000"
[token]
yearly_cap = "100000"
[governance]
voting_delay_seconds = 1
voting_period_seconds = 60
late_quorum_extension_seconds = 1
timelock_delay_seconds = 1
proposal_threshold = "1"
quorum_percent = 10
[contributors]
min_stake = "10"
exit_cooldown_seconds = 7200
[tasks]
challenge_window_seconds = 3600
challenge_timeout_seconds = 7200
[models]
[revenue]
asset = "dev-stablecoin"
treasury = "timelock"
treasury_bps = 500
coordinator_bps = 1000
"""


@dataclass
class Town:
    """Everything of one federation below `folder`."""

    folder: Path
    net: Devnet
    dao: Contracts
    contributors: int
    task: Task
    parts: tuple[bytes, ...]
    task_id: int = 0
    names: list[str] = field(default_factory=list)

    @property
    def coordinator(self) -> Settings:
        """The coordinator's settings."""
        return load_settings(self.folder / "coordinator" / "covalue.toml")

    @property
    def store(self) -> LocalStore:
        """The coordinator's public store."""
        return LocalStore(self.folder / "coordinator" / "store")

    def share_store(self) -> None:
        """Let every vault use the coordinator's store."""
        for path in self.vaults:
            settings = tomllib.loads(path.read_text())
            settings["store"]["path"] = "../coordinator/store"
            path.write_text(tomli_w.dumps(settings))

    def vault_settings(self, place: int) -> Path:
        """A contributor's covalue.toml."""
        return self.folder / f"contributor-{place}" / "covalue.toml"

    @property
    def vaults(self) -> list[Path]:
        """All of them."""
        return [self.vault_settings(place) for place in range(self.contributors)]

    def send(self, index: int, *calls: Call) -> None:
        """Send calls from a devnet account."""
        for call in calls:
            self.dao.chain.send(call, dev_account(index))

    def open_parts(self) -> None:
        """The holders open their sealed parts on chain."""
        for part, data in enumerate(self.parts):
            reference = self.store.put(data)
            call = self.dao.ledger.open_part(
                self.task_id,
                part,
                salt=SALTS[part],
                part_digest=reference.sha256,
                part_cid=reference.cid,
            )
            self.send(HOLDERS[part], call)

    def replace_task(self, **changes: Any) -> Task:
        """The task with other fields; for tasks that the vote never saw."""
        return self.task.model_copy(update=changes)


def build_town(
    folder: Path,
    net: Devnet,
    *,
    contributors: int = 3,
    rounds: int = 4,
    checkpoint_length: int = 2,
    rows_each: int = 120,
    seeded: bool = True,
    family: str = "kernel",
    rule: str = "sum",
    vault_limits: dict[str, Any] | None = None,
    terms: dict[str, Any] | None = None,
) -> Town:
    """Deploy, make a task, vote it open, register and join, post bonds, start."""
    plan = parse_deploy_file(DEPLOY_FILE, name="deploy.toml")
    dao = deploy(net.chain, dev_account(DEPLOYER), plan).dao
    dao.deployment.write(folder / "deployment.json")
    market = generate_market(150 + contributors * rows_each + 80, 5)
    public = market.iloc[:150].to_csv(index=False).encode()
    parts = tuple(
        market.iloc[150 + 40 * part : 190 + 40 * part].to_csv(index=False).encode()
        for part in range(2)
    )
    draft = draft_task(parse_csv(public, name="public"), target=TARGET)
    taskfile = TaskFile.model_validate(
        {
            "title": "Homes of a town",
            "asset_class": "homes",
            "licence": "CC-BY-4.0",
            "public_rows": "public.csv",
            "target": draft.target.model_dump(),
            "feature": [feature.model_dump() for feature in draft.features],
            "privacy": {
                "epsilon": 8.0,
                "delta": 1e-5,
                "rounds": rounds,
                "public_n": contributors * rows_each,
            },
            "model": {"family": family},
            "aggregation": {"rule": rule},
            "terms": {
                "coordinator": address(COORDINATOR),
                "min_contributors": contributors,
                "checkpoint_length": checkpoint_length,
                "coordinator_bond": "100",
                "budget": "1000",
                "stake": "50",
                "part_bond": "10",
                "reveal_time": "1 hour",
                "challenge_time": "30 minutes",
            }
            | (terms or {}),
            "part": [
                {
                    "holder": address(HOLDERS[part]),
                    "commitment": part_commitment(
                        salt=SALTS[part], part_sha256=hashlib.sha256(data).hexdigest()
                    ),
                }
                for part, data in enumerate(parts)
            ],
        }
    )
    store = LocalStore(folder / "coordinator" / "store")
    task = build_task(
        taskfile, public, store.put, bundle_sha256=bundle_sha256(), accounting=accounting
    )
    cid = store.put(task.canonical()).cid
    town = Town(folder, net, dao, contributors, task, parts)
    _write_coordinator(town)
    _vote_open(town, cid)
    for place in range(contributors):
        rows = market.iloc[230 + place * rows_each : 230 + (place + 1) * rows_each]
        _make_vault(town, place, rows.to_csv(index=False), seeded=seeded, limits=vault_limits or {})
        _register(town, place)
    _start(town)
    return town


def _write_coordinator(town: Town) -> None:
    settings = {
        "chain": {"rpc_url": town.net.rpc_url, "deployment": "../deployment.json"},
        "store": {"path": "store"},
        "coordinator": {
            "path": "journal",
            "allow_seeded_noise": True,
            "round_timeout_seconds": 60,
            "cosign_timeout_seconds": 60,
            "poll_milliseconds": 50,
        },
    }
    place = town.folder / "coordinator" / "covalue.toml"
    place.write_text(tomli_w.dumps(settings))


def _make_vault(town: Town, place: int, rows: str, *, seeded: bool, limits: dict[str, Any]) -> None:
    home = town.folder / f"contributor-{place}"
    vault = home / "vault"
    vault.mkdir(parents=True)
    (vault / RECORDS).write_text(rows)
    (vault / ACCOUNT).write_text(address(FIRST_CONTRIBUTOR + place))
    create_password(home / "bls.password")
    BlsKey.create(vault / BLS_KEYSTORE, home / "bls.password", light=True)
    create_node_key(vault / NODE_KEY)
    settings = {
        "chain": {"rpc_url": town.net.rpc_url, "deployment": "../deployment.json"},
        "store": {"path": "store"},
        "vault": {
            "path": "vault",
            "password_file": "bls.password",
            "witness_path": "witness.json",
            "max_epsilon_micro": 20_000_000,
            "max_task_epsilon_micro": 8_000_000,
            "min_noise_multiplier_micro": 1,
        }
        | ({"noise_seed": "town"} if seeded else {})
        | limits,
    }
    (home / "covalue.toml").write_text(tomli_w.dumps(settings))


def bls_key(town: Town, place: int) -> BlsKey:
    """A contributor's BLS key."""
    from fl_client.opening import open_bls_key

    return open_bls_key(load_settings(town.vault_settings(place)).vault)


def _register(town: Town, place: int) -> None:
    index = FIRST_CONTRIBUTOR + place
    node = town.folder / f"contributor-{place}" / "vault" / f"{NODE_KEY}.pub"
    keys = public_keys(
        town.dao,
        account=address(index),
        bls_key=bls_key(town, place),
        node_key_hash=node_key_hash(public_pem(node)),
    )
    town.send(DEPLOYER, town.dao.token.transfer(address(index), 100 * COVAL))
    town.send(index, *register_calls(town.dao, keys, stake_wei=60 * COVAL))
    town.send(index, join_call(town.dao, town.task_id))


def _vote_open(town: Town, cid: str) -> None:
    dao, net = town.dao, town.net
    town.send(DEPLOYER, dao.token.delegate(address(DEPLOYER)))
    net.advance(1)
    town.send(DEPLOYER, propose_task(dao, town.task, cid))
    proposal = list_proposals(dao)[-1]
    net.advance(2)
    town.send(DEPLOYER, vote(dao, proposal, Support.FOR))
    net.advance_to(dao.governor.vote_end(proposal.id) + 1)
    town.send(DEPLOYER, queue(dao, proposal))
    net.advance_to(dao.governor.executable_at(proposal.id) + 1)
    town.send(DEPLOYER, execute(dao, proposal))
    town.task_id = dao.ledger.task_id_of(town.task.digest())


def _start(town: Town) -> None:
    dao, terms = town.dao, town.task.terms
    for index in (COORDINATOR, *HOLDERS):
        town.send(DEPLOYER, dao.token.transfer(address(index), 1000 * COVAL))
        town.send(index, dao.token.approve(dao.ledger.address, 1000 * COVAL))
    town.send(COORDINATOR, dao.ledger.post_bond(town.task_id))
    for part, holder in enumerate(HOLDERS):
        town.send(holder, dao.ledger.post_part_bond(town.task_id, part))
    town.send(COORDINATOR, dao.ledger.start(town.task_id))
    assert terms.coordinator == address(COORDINATOR)
