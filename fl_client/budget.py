# SPDX-License-Identifier: Apache-2.0
"""What a vault's ledger has spent, holds reserved and can still afford, for its owner to read."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from dao.deployment import Contracts
from dao.errors import VaultRefusal
from dao.records import Task
from dao.settings import VaultSettings
from dao.store import Store
from fl_client.ledger_file import LedgerFile
from fl_client.opening import ledger_view, read_account
from fl_client.own_answers import refuse_stale_ledger
from fl_client.policy import PolicyFloor, check_policy
from fl_client.service_lock import folder_lock
from privacy.filters import FilterKind, LifetimeLimit
from privacy.ledger import LedgerState


@dataclass(frozen=True)
class TaskBudget:
    """What one task costs. Epsilons are at the task's own delta; shares are of the whole lifetime
    budget, in 1e-6, rounded up."""

    digest: str
    epsilon_micro: int
    spent_epsilon_micro: int
    delta_e12: int
    rounds: int
    answered: int
    ended: bool
    """True once the rounds that were never asked for are given back."""
    spent_share_micro: int
    charged_share_micro: int


@dataclass(frozen=True)
class Budget:
    """A ledger against its lifetime limit. Epsilons are at the limit's delta."""

    filter: FilterKind
    limit_epsilon_micro: int
    delta_e12: int
    spent_epsilon_micro: int
    charged_epsilon_micro: int
    left_epsilon_micro: int
    """The most that one more full-batch task may cost, rounded down."""
    spent_share_micro: int
    charged_share_micro: int
    tasks: tuple[TaskBudget, ...]
    """In the order in which they were reserved."""


def read_ledger(settings: VaultSettings, *, witnessed: bool = True) -> LedgerState:
    """The ledger of a vault's folder as of now, checked as the vault checks it; needs no key.
    Not `witnessed`, it is only read, so that its owner can judge whether it is the newest.

    InputError where there is no vault, Refused(ledger) where its ledger cannot be trusted.
    """
    account = read_account(settings.path)
    ledger = LedgerFile(
        settings.path / "ledger.jsonl", witness=settings.witness_path, account=account
    )
    with folder_lock(settings.path):
        return ledger.load() if witnessed else ledger.unwitnessed()


def budget_of(state: LedgerState, limit: LifetimeLimit) -> Budget:
    """See `Budget`. VaultRefusal where the settings name another filter than the ledger's."""
    room = limit.room_nano(state.order_under(limit))

    def share(charge_nano: int) -> int:
        return -(-charge_nano * 10**6 // room) if room else 10**6 * bool(charge_nano)

    tasks = tuple(
        TaskBudget(
            digest=digest,
            epsilon_micro=task.epsilon_micro,
            spent_epsilon_micro=task.spent_epsilon_micro,
            delta_e12=task.reservation.delta_e12,
            rounds=task.reservation.total_rounds,
            answered=len(task.answered),
            ended=task.released,
            spent_share_micro=share(task.spent_nano),
            charged_share_micro=share(task.charged_nano),
        )
        for digest, task in state.tasks.items()
    )
    return Budget(
        filter=limit.filter,
        limit_epsilon_micro=limit.epsilon_micro,
        delta_e12=limit.delta_e12,
        spent_epsilon_micro=state.spent_epsilon_micro(delta_e12=limit.delta_e12),
        charged_epsilon_micro=state.charged_epsilon_micro(delta_e12=limit.delta_e12),
        left_epsilon_micro=state.left_epsilon_micro(limit),
        spent_share_micro=share(state.spent_nano),
        charged_share_micro=share(state.charged_nano),
        tasks=tasks,
    )


def after_joining(
    state: LedgerState, floor: PolicyFloor, task: Task, *, joined: Iterable[Task]
) -> LedgerState:
    """The ledger as it will be with a task reserved, after those that were joined before it.

    Refused(policy), VaultRefusal or BudgetError where the vault would refuse the task's first
    round; a task joined before that it will refuse anyway takes no room.
    """
    check_policy(task, floor)
    limit = floor.lifetime_limit
    for earlier in joined:
        try:
            state = _reserved(state, earlier, limit)
        except VaultRefusal:
            continue
    return _reserved(state, task, limit)


def _reserved(state: LedgerState, task: Task, limit: LifetimeLimit) -> LedgerState:
    entry = state.reserve(task_digest=task.digest(), policy=task.policy, limit=limit)
    return state if entry is None else state.apply(entry)


def refuse_unpublished_past(
    state: LedgerState, dao: Contracts, store: Store, *, account: str
) -> tuple[str, ...]:
    """`refuse_stale_ledger` over all tasks on chain that the account joined."""
    joined = (
        number
        for number in range(1, dao.ledger.task_count() + 1)
        if dao.ledger.is_joined(number, account)
    )
    return refuse_stale_ledger(
        state, account=account, chain=ledger_view(dao), store=store, tasks=joined
    )
