# SPDX-License-Identifier: Apache-2.0
"""What the chain says of one task at one block."""

from __future__ import annotations

from dataclasses import dataclass

from dao.bls import from_eip2537_g1
from dao.contracts.model_registry import Release
from dao.contracts.task_types import (
    ChainCheckpoint,
    ChainTask,
    ChainTerms,
    FinalReport,
    OpenedPartEvent,
    TaskState,
)
from dao.deployment import Contracts
from dao.errors import InputError
from dao.records import Position, SeedBlock
from dao.seed_blocks import seed_blocks
from rounds.exclusion import RosterMember

ENDED_WITH_RESULT = (TaskState.CLOSED, TaskState.FINALISED)


@dataclass(frozen=True)
class TaskOnChain:
    """A snapshot: every value is of the same block."""

    block: int
    task_id: int
    chain_id: int
    ledger: str
    task: ChainTask
    terms: ChainTerms
    roster: tuple[RosterMember, ...]
    node_keys: tuple[str, ...]
    """SHA-256 of each member's SuperNode key as the registry has it now, 64 hex digits; zeros for
    a member without one."""
    checkpoints: tuple[ChainCheckpoint, ...]
    final: FinalReport | None
    opened: tuple[OpenedPartEvent, ...]
    seed_blocks: tuple[SeedBlock, ...]
    """Right after the block of each checkpoint, as far as they are there."""
    payout_root: str
    funded_wei: int
    claimed_wei: int
    releases: tuple[Release, ...]

    @property
    def place(self) -> Position:
        """Position of the task; its round is 0."""
        return Position(
            chain_id=self.chain_id,
            ledger=self.ledger,
            task_id=self.task_id,
            task_digest=self.task.task_digest,
            round=0,
        )


def find_task(dao: Contracts, name: str) -> int:
    """The id of a task named by id or digest; InputError where the chain knows none."""
    count = dao.ledger.task_count()
    text = name.removeprefix("0x")
    if text.isdigit() and len(text) < 20:
        task_id = int(text)
    elif len(text) == 64 and all(letter in "0123456789abcdef" for letter in text):
        task_id = dao.ledger.task_id_of(text)
    else:
        raise InputError(
            f"{name!r} names no task", hint="give its number on chain or its digest (64 hex digits)"
        )
    if not 1 <= task_id <= count:
        raise InputError(
            f"the chain knows no task {name}", hint=f"it has tasks 1 to {count}" if count else None
        )
    return task_id


def read_chain(dao: Contracts, task_id: int) -> TaskOnChain:
    """Read everything at the latest block."""
    block = dao.chain.block().number
    ledger = dao.ledger
    task = ledger.task_of(task_id, block=block)
    accounts = ledger.roster_of(task_id, block=block)
    keys = ledger.roster_keys(task_id, block=block)
    funded_wei, claimed_wei = dao.distributor.funded_of(task_id, block=block)
    has_result = task.state in ENDED_WITH_RESULT
    releases = (
        dao.models.release_of(number, block=block)
        for number in range(1, dao.models.release_count(block=block) + 1)
    )
    return TaskOnChain(
        block=block,
        task_id=task_id,
        chain_id=dao.chain.chain_id,
        ledger=ledger.address.lower(),
        task=task,
        terms=ledger.terms_of(task_id, block=block),
        roster=tuple(
            RosterMember(address=account.lower(), bls_public_key=from_eip2537_g1(key))
            for account, key in zip(accounts, keys, strict=True)
        ),
        node_keys=tuple(
            dao.registry.contributor_of(account, block=block).super_node_key_hash.hex()
            for account in accounts
        ),
        checkpoints=tuple(
            ledger.checkpoint_of(task_id, index, block=block)
            for index in range(task.checkpoint_count)
        ),
        final=ledger.final_of(task_id, block=block) if has_result else None,
        opened=ledger.opened_parts(task_id, from_block=dao.deployment.block),
        seed_blocks=seed_blocks(
            ledger,
            task_id,
            checkpoints=task.checkpoint_count,
            from_block=dao.deployment.block,
            until=block,
        ),
        payout_root=dao.distributor.root_of(task_id, block=block),
        funded_wei=funded_wei,
        claimed_wei=claimed_wei,
        releases=tuple(release for release in releases if release.task_id == task_id),
    )
