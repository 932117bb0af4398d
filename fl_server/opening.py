# SPDX-License-Identifier: Apache-2.0
"""From settings and a task id to a coordinator's context."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from eth_account.signers.local import LocalAccount

from dao.bls import from_eip2537_g1
from dao.cid import of_digest
from dao.contracts.task_types import TaskState
from dao.deployment import Contracts, open_dao
from dao.errors import ChainError
from dao.keystore import AccountKey
from dao.open_store import open_store
from dao.records import Task
from dao.settings import Settings
from dao.store import LocalStore, Store
from fl_server.context import CoordinatorContext, Progress, Timing
from fl_server.journal import Journal
from rounds.exclusion import RosterMember
from valuation.loading import load_family

DEVNET_CHAIN_ID = 31337
"""The local development chain's: whoever runs it can write on it what they like."""


def open_context(
    settings: Settings,
    *,
    task_id: int,
    progress: Callable[[Progress], None],
    authenticated: bool,
    account: LocalAccount | None = None,
    store: Store | None = None,
) -> CoordinatorContext:
    """The context of a started task. `authenticated` (deployment) means that only SuperNodes whose
    key stands in the registry are asked. `account` and `store` default to those of the settings.

    ChainError where the task has not started; JournalError where another coordinator works on it.
    """
    contracts = open_dao(settings.chain.rpc_url, settings.chain.deployment)
    on_chain = contracts.ledger.task_of(task_id)
    if on_chain.state < TaskState.RUNNING:
        raise ChainError(
            f"task {task_id} is {on_chain.state.name.title()}, expected Running",
            hint="start it once enough contributors have joined",
        )
    store = open_store(settings.store) if store is None else store
    task = Task.parse(store.get(of_digest(on_chain.task_digest)))
    roster = read_roster(contracts, task_id)
    return CoordinatorContext(
        task_id=task_id,
        task=task,
        family=load_family(task, store.get(task.model.setup.cid)),
        roster=roster,
        chain=contracts.chain,
        ledger=contracts.ledger,
        account=open_account(settings) if account is None else account,
        store=store,
        spool=LocalStore(settings.coordinator.path / "spool"),
        journal=Journal(
            settings.coordinator.path / f"task-{task_id}.jsonl",
            header={
                "chain_id": contracts.chain.chain_id,
                "ledger": contracts.ledger.address,
                "task_id": task_id,
                "task_digest": on_chain.task_digest,
            },
        ),
        timing=Timing(
            poll=settings.coordinator.poll_milliseconds / 1000,
            round=float(settings.coordinator.round_timeout_seconds),
            cosign=float(settings.coordinator.cosign_timeout_seconds),
        ),
        node_owners=read_node_owners(contracts, roster) if authenticated else {},
        allow_seeded=takes_seeded_noise(
            settings, authenticated=authenticated, chain_id=contracts.chain.chain_id
        ),
        progress=progress,
        deployment_block=contracts.deployment.block,
    )


def takes_seeded_noise(settings: Settings, *, authenticated: bool, chain_id: int) -> bool:
    """Whether updates count whose noise came from a seed, which can be drawn again and taken off.

    Only where `coordinator.allow_seeded_noise` says so, and in deployment (`authenticated`) only on
    the development chain, where tests hold a deployment to its simulation; elsewhere never,
    whatever the settings say.
    """
    in_earnest = authenticated and chain_id != DEVNET_CHAIN_ID
    return settings.coordinator.allow_seeded_noise and not in_earnest


def open_account(settings: Settings) -> LocalAccount:
    """The account that signs round records and sends checkpoints."""
    return AccountKey.open(settings.account.keystore, settings.account.password_file).signer


def read_roster(contracts: Contracts, task_id: int) -> tuple[RosterMember, ...]:
    """The frozen roster, in the order of the signers' bits."""
    addresses = contracts.ledger.roster_of(task_id)
    keys = contracts.ledger.roster_keys(task_id)
    return tuple(
        RosterMember(address=address.lower(), bls_public_key=from_eip2537_g1(key))
        for address, key in zip(addresses, keys, strict=True)
    )


def read_node_owners(contracts: Contracts, roster: tuple[RosterMember, ...]) -> Mapping[bytes, str]:
    """SHA-256 of each SuperNode's public key to its contributor, from the registry."""
    return {
        contracts.registry.contributor_of(member.address).super_node_key_hash: member.address
        for member in roster
    }
