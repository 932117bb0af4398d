# SPDX-License-Identifier: Apache-2.0
"""What the chain says of a task, read through the contributor's own endpoint.

The coordinator's word counts for nothing here: the vault works only for a task whose digest the
vote opened, that runs, and on whose frozen roster this contributor stands with this vault's key.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from dao.bls import from_eip2537_g1
from dao.contracts.task_ledger import TaskLedger
from dao.contracts.task_types import TaskState
from dao.records import Position, SeedBlock
from dao.seed_blocks import final_block, seed_blocks
from fl_client.refusals import Code, Refused
from rounds.exclusion import RosterMember


@dataclass(frozen=True)
class TaskOnChain:
    """A task as the TaskLedger shows it."""

    chain_id: int
    ledger: str
    task_id: int
    task_digest: str
    state: str
    """Name of `TaskLedger.State`, e.g. `Running`."""
    coordinator: str
    last_round: int
    """Last round that a checkpoint committed; 0 before the first."""
    checkpoint_count: int
    parts_opened: int
    """Validation parts opened so far."""
    reveal_over: bool
    """Whether the time to open validation parts has passed, by chain time."""
    roster: tuple[RosterMember, ...]
    """Accounts and compressed BLS keys (48 bytes), frozen at start; empty before."""

    def position(self, round_number: int) -> Position:
        """Where a statement about one of its rounds belongs; round 0 for the task as a whole."""
        return Position(
            chain_id=self.chain_id,
            ledger=self.ledger,
            task_id=self.task_id,
            task_digest=self.task_digest,
            round=round_number,
        )


@dataclass(frozen=True)
class PartOnChain:
    """A validation part that its holder opened."""

    index: int
    salt: str
    sha256: str
    cid: str


class ChainView(Protocol):
    """The vault's window on the chain."""

    def task(self, task_id: int) -> TaskOnChain:
        """The task as of now; ChainError when the endpoint fails or no such task exists."""
        ...

    def checkpoint_root(self, task_id: int, index: int) -> str:
        """Digest of a committed checkpoint's record."""
        ...

    def opened_parts(self, task_id: int) -> tuple[PartOnChain, ...]:
        """The validation parts opened so far, by index."""
        ...

    def seed_blocks(self, task_id: int, *, checkpoints: int) -> tuple[SeedBlock, ...]:
        """The final blocks among those right after the first checkpoints (`dao.seed_blocks`)."""
        ...


class LedgerView:
    """`ChainView` over the TaskLedger and the contributor's own endpoint.

    The roster is frozen at the start of a task, so it is read once; the state is read each time.
    """

    def __init__(self, ledger: TaskLedger, *, from_block: int) -> None:
        self._ledger = ledger
        self._from_block = from_block
        self._rosters: dict[int, tuple[RosterMember, ...]] = {}

    def task(self, task_id: int) -> TaskOnChain:
        """See `ChainView`."""
        task = self._ledger.task_of(task_id)
        return TaskOnChain(
            chain_id=self._ledger.chain.chain_id,
            ledger=self._ledger.address,
            task_id=task_id,
            task_digest=task.task_digest,
            state=task.state.name.title(),
            coordinator=task.coordinator,
            last_round=task.last_round,
            checkpoint_count=task.checkpoint_count,
            parts_opened=task.parts_opened,
            reveal_over=task.state is TaskState.REVEALING
            and self._ledger.chain.now() > task.reveal_deadline,
            roster=self._roster(task_id) if task.started_at else (),
        )

    def checkpoint_root(self, task_id: int, index: int) -> str:
        """See `ChainView`."""
        return self._ledger.checkpoint_of(task_id, index).records_root

    def opened_parts(self, task_id: int) -> tuple[PartOnChain, ...]:
        """See `ChainView`."""
        events = self._ledger.opened_parts(task_id, from_block=self._from_block)
        parts = (PartOnChain(e.part, e.salt, e.part_digest, e.part_cid) for e in events)
        return tuple(sorted(parts, key=lambda part: part.index))

    def seed_blocks(self, task_id: int, *, checkpoints: int) -> tuple[SeedBlock, ...]:
        """See `ChainView`."""
        return seed_blocks(
            self._ledger,
            task_id,
            checkpoints=checkpoints,
            from_block=self._from_block,
            until=final_block(self._ledger.chain),
        )

    def _roster(self, task_id: int) -> tuple[RosterMember, ...]:
        if task_id not in self._rosters:
            addresses = self._ledger.roster_of(task_id)
            keys = self._ledger.roster_keys(task_id)
            self._rosters[task_id] = tuple(
                RosterMember(address=address.lower(), bls_public_key=from_eip2537_g1(key))
                for address, key in zip(addresses, keys, strict=True)
            )
        return self._rosters[task_id]


def require_approved(
    chain: ChainView,
    *,
    task_id: int,
    task_digest: str,
    account: str,
    public_key: bytes,
    states: tuple[str, ...] = ("Running",),
) -> TaskOnChain:
    """The task, if the chain says that this vault has work in it; Refused(not-approved) if not."""
    task = chain.task(task_id)
    if task.task_digest != task_digest:
        raise Refused(
            Code.NOT_APPROVED,
            f"task {task_id} on chain has digest {task.task_digest}, the request names "
            f"{task_digest}",
            hint="only what the vote approved is trained; ask the coordinator what it sent",
        )
    if task.state not in states:
        raise Refused(
            Code.NOT_APPROVED,
            f"task {task_id} is {task.state}, expected {' or '.join(states)}",
        )
    member = next((each for each in task.roster if each.address == account), None)
    if member is None:
        raise Refused(
            Code.NOT_APPROVED,
            f"{account} is not on the roster of task {task_id}",
            hint="join before it starts: covalue contributor join",
        )
    if member.bls_public_key != public_key:
        raise Refused(
            Code.NOT_APPROVED,
            f"the roster of task {task_id} holds another BLS key for {account} than this vault",
            hint="the key on chain at joining time must be the one in this vault's keystore",
        )
    return task
