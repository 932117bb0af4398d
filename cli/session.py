# SPDX-License-Identifier: Apache-2.0
"""What commands that touch the chain share: the settings' account, and sending one transaction."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from cli.output import call_to_result, emit
from dao.calldata import decode_action, plain_text
from dao.chain import Call, Outcome
from dao.contracts.task_types import ChainTask, TaskState
from dao.deployment import Contracts, open_dao
from dao.errors import InputError, KeyFileError
from dao.keystore import AccountKey
from dao.settings import Settings, load_settings

ConfigOption = Annotated[
    Path | None,
    typer.Option("--config", metavar="FILE", help="Settings file; default covalue.toml."),
]


def open_contracts(config: Path | None) -> tuple[Settings, Contracts]:
    """The settings, and the deployment they name on the chain they name."""
    settings = load_settings(config)
    return settings, open_dao(settings.chain.rpc_url, settings.chain.deployment)


def open_account(settings: Settings) -> AccountKey:
    """The account that signs, from the keystore and the password file that the settings name."""
    keystore = settings.account.keystore
    if keystore is None:
        raise KeyFileError(
            "no account is set, and this command sends a transaction",
            hint="Set account.keystore and account.password_file in covalue.toml. On a devnet, "
            '"covalue devnet key 0 account.json" makes a keystore.',
        )
    return AccountKey.open(keystore, settings.account.password_file)


def require_task(dao: Contracts, task_id: int) -> ChainTask:
    """The task as it stands on chain; InputError where the vote never opened one of that number."""
    task = dao.ledger.task_of(task_id)
    if task.state is TaskState.NONE:
        raise InputError(
            f"there is no task {task_id} on this chain",
            hint="a task exists once its vote was executed: covalue member proposals",
        )
    return task


def transact(
    dao: Contracts,
    call: Call,
    key: AccountKey,
    *,
    dry_run: bool,
    as_json: bool,
    result: Mapping[str, object] | None = None,
) -> Outcome:
    """Send a call (or, in a dry run, only try it) and print what came of it."""
    outcome = dao.chain.send(call, key.signer, dry_run=dry_run)
    action = decode_action(dao, call)
    document: dict[str, object] = {
        **call_to_result(call),
        "from": key.address,
        "sent": not dry_run,
        "gas": outcome.gas,
        "transaction": outcome.transaction,
        "block": outcome.block,
        "call": action.lines(),
        **(result or {}),
    }

    def tell(out: Console) -> None:
        def line(text: str) -> None:
            out.print(plain_text(text), markup=False, soft_wrap=True)

        if dry_run:
            line(f"would {call.description}")
            for text in action.lines():
                line(f"  {text}")
            line(f"from {key.address}, about {outcome.gas} gas; nothing was sent")
        else:
            line(f"done: {call.description}")
            line(f"  transaction {outcome.transaction}")
            line(f"  block {outcome.block}, {outcome.gas} gas")
        for name, value in (result or {}).items():
            line(f"  {name}: {value}")

    emit(document, as_json=as_json, text=tell)
    return outcome


def transact_all(
    dao: Contracts,
    calls: Sequence[Call],
    key: AccountKey,
    *,
    dry_run: bool,
    as_json: bool,
    result: Mapping[str, object] | None = None,
) -> None:
    """Send calls one after the other (or, in a dry run, only show them) and print them. A later
    one may need an earlier one, so a dry run does not try them on the chain. `result` is added
    for --json only: what people should know before was told before."""
    sent: list[dict[str, object]] = []
    for call in calls:
        shown = call_to_result(call)
        if not dry_run:
            outcome = dao.chain.send(call, key.signer)
            shown |= {"sent": True, "transaction": outcome.transaction, "gas": outcome.gas}
        sent.append(shown)

    def tell(out: Console) -> None:
        for call, shown in zip(calls, sent, strict=True):
            lines = [f"{'would ' if dry_run else 'done: '}{call.description}"]
            if dry_run:
                # its warnings are for voters: this account acts for itself
                action = replace(decode_action(dao, call), warnings=())
                lines += [f"  {line}" for line in action.lines()]
            else:
                lines.append(f"  transaction {shown['transaction']}, {shown['gas']} gas")
            for line in lines:
                out.print(plain_text(line), markup=False, soft_wrap=True)
        if dry_run:
            out.print(f"from {key.address}; nothing was sent", soft_wrap=True)

    document = {"from": key.address, "transactions": sent, **(result or {})}
    emit(document, as_json=as_json, text=tell)
