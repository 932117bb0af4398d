# SPDX-License-Identifier: Apache-2.0
"""A contributor's stake at the command line: more of it, out of a task, out of the registry."""

from __future__ import annotations

from typing import Annotated

import typer

from cli.output import DryRunOption, JsonOption, guard
from cli.session import (
    ConfigOption,
    open_account,
    open_contracts,
    require_coval,
    require_task,
    transact,
    transact_all,
)
from dao.errors import ChainError, InputError
from valuation.taskfile import wei_of

TaskArgument = Annotated[int, typer.Argument(metavar="TASK", help="The task's number on chain.")]


@guard
def add_stake(
    amount: Annotated[str, typer.Argument(metavar="COVAL", help="How much more to stake.")],
    config: ConfigOption = None,
    dry_run: DryRunOption = False,
    as_json: JsonOption = False,
) -> None:
    """Add to your stake, as joining a further task may need. It can be lost by a vote."""
    settings, dao = open_contracts(config)
    key, amount_wei = open_account(settings), wei_of(amount, "COVAL")
    if amount_wei == 0:
        raise InputError("nothing to add", hint="name how many COVAL, such as 50")
    require_coval(dao, key, amount_wei, what="the stake to add")
    calls = (
        dao.token.approve(dao.registry.address, amount_wei),
        dao.registry.add_stake(amount_wei),
    )
    transact_all(dao, calls, key, dry_run=dry_run, as_json=as_json)


@guard
def leave(
    task: TaskArgument,
    config: ConfigOption = None,
    dry_run: DryRunOption = False,
    as_json: JsonOption = False,
) -> None:
    """Leave a task before it starts. The stake that it locked is free again.

    From the start on the roster stands; the stake is free when the task ends.
    """
    settings, dao = open_contracts(config)
    require_task(dao, task)
    call = dao.ledger.leave(task)
    transact(dao, call, open_account(settings), dry_run=dry_run, as_json=as_json)


@guard
def exit_(
    config: ConfigOption = None, dry_run: DryRunOption = False, as_json: JsonOption = False
) -> None:
    """Leave the DAO: ask, and after the cooldown take the stake back."""
    settings, dao = open_contracts(config)
    key = open_account(settings)
    at = dao.registry.withdrawable_at(key.address)
    now = dao.chain.now()
    if at and now < at:
        raise ChainError(
            f"the stake can be taken back in {at - now} s of chain time",
            hint="run this again then",
        )
    call = dao.registry.withdraw() if at else dao.registry.request_exit()
    transact_all(dao, (call,), key, dry_run=dry_run, as_json=as_json)
