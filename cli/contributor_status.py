# SPDX-License-Identifier: Apache-2.0
"""`covalue contributor status`, and what `join` says of the budget before it sends anything."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from cli.output import JsonOption, console, emit, guard
from cli.session import ConfigOption, open_contracts
from cli.task_cost import cost_of, read_task, show_epsilon
from dao.calldata import plain_text, show_coval
from dao.contracts.task_types import ChainTask, TaskState
from dao.errors import CovalueError
from dao.open_store import open_store
from dao.records import Task
from fl_client.opening import open_vault, policy_floor, read_account

if TYPE_CHECKING:
    from dao.deployment import Contracts
    from dao.settings import Settings
    from dao.store import Store
    from fl_client.budget import Budget

_NARROWEST, _WIDEST = 8, 40
_BESIDE = 60
"""Columns that a terminal of 80 needs for what stands beside a bar."""
_TRAINED = frozenset(
    {TaskState.REVEALING, TaskState.CLOSED, TaskState.FINALISED, TaskState.ABORTED}
)
"""States in which no round is asked for any more."""


@guard
def status(
    give_back: Annotated[
        bool,
        typer.Option(
            "--give-back",
            help="Free what tasks that are over had reserved for rounds they never asked for.",
        ),
    ] = False,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """What stands on chain for you, and what your ledger has spent, reserved and left, by task."""
    from fl_client.budget import budget_of, read_ledger, refuse_unpublished_past

    settings, dao = open_contracts(config)
    account = read_account(settings.vault.path)
    state = read_ledger(settings.vault)
    store = open_store(settings.store)
    unseen = refuse_unpublished_past(state, dao, store, account=account)
    chain = {digest: _on_chain(dao, digest) for digest in state.tasks}
    if give_back:
        over = [
            digest
            for digest, task in state.tasks.items()
            if chain[digest][1] in _TRAINED and not task.released
        ]
        vault = open_vault(settings) if over else None
        for digest in over:
            assert vault is not None
            state = vault.end_task(digest)
    budget = budget_of(state, policy_floor(settings.vault).lifetime_limit)
    found = dao.registry.contributor_of(account)
    result: dict[str, Any] = {
        "account": account,
        "registered": found.registered,
        "stake_wei": str(found.stake_wei),
        "locked_stake_wei": str(found.locked_stake_wei),
        "open_tasks": list(dao.registry.open_tasks_of(account)),
        "exit_requested_at": found.exit_requested_at,
        "filter": budget.filter,
        "delta_e12": budget.delta_e12,
        "epsilon_limit_micro": budget.limit_epsilon_micro,
        "epsilon_spent_micro": budget.spent_epsilon_micro,
        "epsilon_charged_micro": budget.charged_epsilon_micro,
        "epsilon_left_micro": budget.left_epsilon_micro,
        "share_spent_micro": budget.spent_share_micro,
        "share_charged_micro": budget.charged_share_micro,
        "tasks": [
            {
                **asdict(task),
                "task": chain[task.digest][0],
                "title": _title(store, task.digest),
                "state": chain[task.digest][1].name.lower(),
                "owed_wei": str(dao.ledger.owed_of(chain[task.digest][0], account)),
                "can_give_back": chain[task.digest][1] in _TRAINED
                and task.spent_share_micro < task.charged_share_micro,
            }
            for task in budget.tasks
        ],
        "rounds_answered": {task.digest: task.answered for task in budget.tasks},
        "not_looked_at": list(unseen),
    }
    emit(result, as_json=as_json, text=lambda out: tell_status(out, result, budget))


def check_budget(settings: Settings, dao: Contracts, task: ChainTask) -> dict[str, object]:
    """What joining a task will cost and leave, told before anything is sent.

    Refused or BudgetError where the vault would refuse its first round, by its own limits or
    because the ledger cannot afford it beside the tasks joined before, or where the ledger is older
    than the vault's own committed receipts.
    """
    from fl_client.budget import after_joining, budget_of, read_ledger, refuse_unpublished_past

    account, ledger = read_account(settings.vault.path), read_ledger(settings.vault)
    store, floor = open_store(settings.store), policy_floor(settings.vault)
    unseen = refuse_unpublished_past(ledger, dao, store, account=account)
    record = read_task(store, task.task_digest)
    joined = joined_tasks(dao, store, account, besides=task.task_digest)
    state = after_joining(ledger, floor, record, joined=joined)
    after = budget_of(state, floor.lifetime_limit)
    cost = cost_of(record)
    console.print(f"task {plain_text(record.title)!r} {cost.line()}", markup=False, soft_wrap=True)
    console.print(_after_line(after), markup=False, soft_wrap=True)
    for text in unseen:
        told = plain_text(f"not held against the ledger: {text}")
        console.print(told, markup=False, soft_wrap=True, style="yellow")
    return {
        **cost.as_dict(),
        "epsilon_left_micro": after.left_epsilon_micro,
        "share_charged_micro": after.charged_share_micro,
        "not_looked_at": list(unseen),
    }


def joined_tasks(dao: Contracts, store: Store, account: str, *, besides: str) -> list[Task]:
    """Records of the open tasks that an account joined, but for the one of that digest."""
    open_tasks = map(dao.ledger.task_of, dao.registry.open_tasks_of(account))
    digests = [each.task_digest for each in open_tasks]
    return [read_task(store, digest) for digest in digests if digest != besides]


def tell_status(out: Console, found: dict[str, Any], budget: Budget) -> None:
    """The account in two lines, the budget as bars: spent, reserved, left."""

    def line(text: str, style: str | None = None) -> None:
        out.print(plain_text(text), markup=False, soft_wrap=True, style=style)

    tasks = ", ".join(str(number) for number in found["open_tasks"]) or "none"
    line(f"{found['account']}: " + ("registered" if found["registered"] else "NOT registered"))
    line(
        f"stake {show_coval(int(found['stake_wei']))}, "
        f"{show_coval(int(found['locked_stake_wei']))} locked; open tasks: {tasks}"
    )
    spent = show_epsilon(budget.spent_epsilon_micro)
    line(
        f"privacy budget for life: epsilon {show_epsilon(budget.limit_epsilon_micro)} at delta "
        f"{budget.delta_e12 / 1e12:g} (filter {budget.filter}); spent {spent}; "
        f"{show_epsilon(budget.left_epsilon_micro, down=True)} is the most that one more task may "
        "cost"
    )
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    for heading in ("task", "rounds", "epsilon spent", "of"):
        table.add_column(heading, justify="left" if heading == "task" else "right")
    table.add_column("share of the budget", no_wrap=True)
    width = min(_WIDEST, max(_NARROWEST, out.width - _BESIDE))
    for task, told in zip(budget.tasks, found["tasks"], strict=True):
        table.add_row(
            Text(plain_text(f"{told['task']} {told['title']}")[:40]),
            f"{task.answered}/{task.rounds}",
            show_epsilon(task.spent_epsilon_micro),
            show_epsilon(task.epsilon_micro) + (" (ended)" if task.ended else ""),
            bar(task.spent_share_micro, task.charged_share_micro, width=width),
        )
    table.add_row(
        Text("all", style="bold"),
        "",
        "",
        "",
        bar(budget.spent_share_micro, budget.charged_share_micro, width=width),
    )
    out.print(table)
    line("█ spent  ▒ reserved  ░ left", "dim")
    if any(told["can_give_back"] for told in found["tasks"]):
        line("a task is over and asked for less than it reserved: --give-back frees the rest")
    for told in found["tasks"]:
        if int(told["owed_wei"]):
            owed = f"task {told['task']} owes you {show_coval(int(told['owed_wei']))}"
            line(f"{owed}: covalue contributor withdraw-owed {told['task']}")
    for text in found["not_looked_at"]:
        line(f"not held against the ledger: {text}", "yellow")


def bar(spent_micro: int, charged_micro: int, *, width: int) -> Text:
    """A share of the lifetime budget as a bar of `width` cells with its number. What is spent,
    reserved or left is seen, however little it is."""
    spent, charged = (min(10**6, share) for share in (spent_micro, charged_micro))
    reserves = charged > spent
    filled = max(-(-charged * width // 10**6), -(-spent * width // 10**6) + reserves)
    filled = min(filled, width - (charged < 10**6))
    solid = min(-(-spent * width // 10**6), filled - reserves)
    text = Text()
    text.append("█" * solid, style="cyan")
    text.append("▒" * (filled - solid), style="yellow")
    text.append("░" * (width - filled), style="dim")
    text.append(f" {charged_micro / 10**4:.1f} %")
    return text


def _after_line(after: Budget) -> str:
    return (
        f"with it {after.charged_share_micro / 10**4:.1f} % of your lifetime budget (epsilon "
        f"{show_epsilon(after.limit_epsilon_micro)}) is spent or reserved; then one more task may "
        f"cost at most epsilon {show_epsilon(after.left_epsilon_micro, down=True)}"
    )


def _on_chain(dao: Contracts, digest: str) -> tuple[int, TaskState]:
    """Number and state of a task; 0 and NONE where this chain does not know it."""
    number = dao.ledger.task_id_of(digest)
    return (number, dao.ledger.task_of(number).state) if number else (0, TaskState.NONE)


def _title(store: Store, digest: str) -> str:
    try:
        return read_task(store, digest).title
    except CovalueError:
        return f"record {digest[:12]}"
