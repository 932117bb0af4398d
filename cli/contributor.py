# SPDX-License-Identifier: Apache-2.0
"""`covalue contributor`: hold private records, train with them, be paid."""

from __future__ import annotations

import signal
import threading
from pathlib import Path
from typing import Annotated

import typer

from cli.contributor_audit import audit_privacy
from cli.contributor_check import check
from cli.contributor_disputes import challenge, prove_equivocation, withdraw_owed
from cli.contributor_setup import create_vault, keys_of, replace_keys
from cli.contributor_stake import add_stake, exit_, leave
from cli.contributor_status import check_budget, status
from cli.output import DryRunOption, JsonOption, console, emit, guard
from cli.session import (
    ConfigOption,
    open_account,
    open_contracts,
    require_coval,
    require_task,
    transact_all,
)
from dao.errors import ChainError, InputError
from dao.open_store import open_store
from dao.settings import load_settings
from fl_client import enrol
from fl_client.node_key import public_pem
from fl_client.opening import NODE_KEY
from valuation.taskfile import wei_of

app = typer.Typer(
    no_args_is_help=True, help="Hold private records, train with them, and be paid for it."
)
app.command(name="audit-privacy")(audit_privacy)
TaskArgument = Annotated[int, typer.Argument(metavar="TASK", help="The task's number on chain.")]


@app.command()
@guard
def init(
    records: Annotated[
        Path, typer.Argument(help="CSV or Parquet with your records; it stays where it is.")
    ],
    account: Annotated[
        str | None,
        typer.Option(help="Your account's address; default that of account.keystore."),
    ] = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make the vault: its folder and keys. Your records are only linked."""
    settings = load_settings(config)
    made = create_vault(settings, records=records, account=account)
    emit(made, as_json=as_json)


app.command()(check)


@app.command()
@guard
def register(
    stake: Annotated[str, typer.Option(help="COVAL to stake; it can be lost by a vote.")],
    config: ConfigOption = None,
    dry_run: DryRunOption = False,
    as_json: JsonOption = False,
) -> None:
    """Put your keys and your stake on chain."""
    settings, dao = open_contracts(config)
    keys = keys_of(settings, dao)
    stake_wei, key = wei_of(stake, "--stake"), open_account(settings)
    calls = enrol.register_calls(dao, keys, stake_wei=stake_wei)
    require_coval(dao, key, stake_wei, what="the stake")
    if not dry_run:
        # the hash on chain names these bytes, so a coordinator finds them by it
        open_store(settings.store).put(public_pem(settings.vault.path / f"{NODE_KEY}.pub"))
    transact_all(dao, calls, key, dry_run=dry_run, as_json=as_json)


@app.command()
@guard
def join(
    task: TaskArgument,
    allow_proof: Annotated[
        list[str] | None,
        typer.Option(help="Hash of the way to the allow-list's root; repeated, leaf end first."),
    ] = None,
    config: ConfigOption = None,
    dry_run: DryRunOption = False,
    as_json: JsonOption = False,
) -> None:
    """Join a task before it starts. Locks the stake that it asks for.

    Says first what the task costs your privacy budget, and refuses what the ledger cannot afford.
    """
    settings, dao = open_contracts(config)
    budget = check_budget(settings, dao, require_task(dao, task))
    calls = (enrol.join_call(dao, task, allow_proof or []),)
    transact_all(
        dao, calls, open_account(settings), dry_run=dry_run, as_json=as_json, result=budget
    )


@app.command()
@guard
def run(config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """Start SuperNode and vault, and answer until stopped (Ctrl-C).

    The vault runs its own installed app; a bundle with other code is refused unopened.
    """
    from fl_client.service import serve

    settings = load_settings(config)
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    serve(settings, stop, tell=lambda line: console.print(line, markup=False))
    emit({"stopped": True}, as_json=as_json)


app.command()(status)


@app.command()
@guard
def claim(
    task: TaskArgument,
    config: ConfigOption = None,
    dry_run: DryRunOption = False,
    as_json: JsonOption = False,
) -> None:
    """Take your payout of a finalised task."""
    settings, dao = open_contracts(config)
    require_task(dao, task)
    key = open_account(settings)
    found = enrol.find_claim(dao, open_store(settings.store), task_id=task, account=key.address)
    if found is None:
        raise InputError(
            f"{key.address} earned nothing in task {task}",
            hint=f"covalue audit {task} recomputes the scores; covalue contributor challenge "
            "disputes them while the window is open",
        )
    if found.claimed:
        raise ChainError(
            f"the payout of task {task}, {found.amount_wei / 10**18:g} COVAL, is claimed already",
            hint="nothing more is due; a payout is paid once",
        )
    calls = (enrol.claim_call(dao, found),)
    transact_all(dao, calls, key, dry_run=dry_run, as_json=as_json)


app.command()(challenge)
app.command(name="prove-equivocation")(prove_equivocation)
app.command(name="withdraw-owed")(withdraw_owed)
app.command(name="add-stake")(add_stake)
app.command()(leave)
app.command(name="exit")(exit_)


@app.command(name="rotate-keys")
@guard
def rotate_keys(
    config: ConfigOption = None, dry_run: DryRunOption = False, as_json: JsonOption = False
) -> None:
    """Replace the vault's BLS key and the SuperNode's key, here and on chain.

    Not while a task that you joined is open. The old files are kept beside the new ones.
    """
    settings, dao = open_contracts(config)
    key = open_account(settings)
    if dao.registry.open_tasks_of(key.address):
        raise ChainError(
            "a task that you joined is still open, and its roster holds your present key",
            hint="rotate when covalue contributor status shows no open task",
        )
    with replace_keys(settings, keep=not dry_run):
        calls = (enrol.rotate_call(dao, keys_of(settings, dao)),)
        transact_all(dao, calls, key, dry_run=dry_run, as_json=as_json)
