# SPDX-License-Identifier: Apache-2.0
"""What a coordinator works with for one task, and what it tells of its progress."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from eth_account.signers.local import LocalAccount

from dao.chain import Chain
from dao.contracts.task_ledger import TaskLedger
from dao.records import Position, Task
from dao.store import Store
from fl_server.journal import Journal
from rounds.exclusion import RosterMember
from valuation.family import Family


@dataclass(frozen=True)
class Timing:
    """Wall-clock patience, in seconds."""

    poll: float = 0.2
    """Between two looks for replies."""
    round: float = 120.0
    """How long an answer may take; later ones are excluded as late."""
    cosign: float = 300.0
    """How long a co-signature may take once the quorum is there."""
    patience: float = 3600.0
    """How long a quorum may be missing before the coordinator gives up (it can be resumed)."""


@dataclass(frozen=True)
class Progress:
    """One thing that happened. `detail` holds published facts only."""

    kind: Literal[
        "resumed",
        "waiting",
        "refused",
        "round",
        "cosigned",
        "checkpoint",
        "revealing",
        "seeding",
        "scored",
        "closed",
        "finalised",
    ]
    round: int
    detail: Mapping[str, Any]


@dataclass(frozen=True)
class CoordinatorContext:
    """A task that runs on chain, with all that is needed to run it.

    `store` is served to the world; `spool` is the coordinator's own place, where answers rest until
    their list is fixed in the journal. `node_owners` maps the SHA-256 of a SuperNode's public key
    (PEM) to its contributor; empty in simulation, where receipts alone tell who answered.
    """

    task_id: int
    task: Task
    family: Family
    roster: tuple[RosterMember, ...]
    chain: Chain
    ledger: TaskLedger
    account: LocalAccount
    store: Store
    spool: Store
    journal: Journal
    timing: Timing
    node_owners: Mapping[bytes, str]
    allow_seeded: bool
    progress: Callable[[Progress], None]
    deployment_block: int
    answered_from: dict[int, str] = field(default_factory=dict)
    """Node id to the contributor that first answered from it: where the registry knows no keys
    (simulation), this is how a judged-out contributor's node is told."""

    @property
    def task_digest(self) -> str:
        """Digest of the task record."""
        return self.task.digest()

    @property
    def quorum(self) -> int:
        """How many of the roster must co-sign."""
        return -(-self.task.terms.quorum_bps * len(self.roster) // 10_000)

    def position(self, round_number: int) -> Position:
        """Where a statement about a round belongs."""
        return Position(
            chain_id=self.chain.chain_id,
            ledger=self.ledger.address,
            task_id=self.task_id,
            task_digest=self.task_digest,
            round=round_number,
        )

    def tell(self, kind: Any, round_number: int, **detail: Any) -> None:
        """Report progress."""
        self.progress(Progress(kind=kind, round=round_number, detail=detail))
