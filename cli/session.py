# SPDX-License-Identifier: Apache-2.0
"""What commands that touch the chain share: the settings' account, and sending one transaction."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from cli.output import call_to_result, emit
from dao.calldata import decode_action, plain_text, show_coval
from dao.chain import Call, Outcome
from dao.contracts.task_types import ChainTask, TaskState
from dao.deployment import Contracts, open_dao
from dao.errors import ChainError, InputError, KeyFileError
from dao.keystore import AccountKey
from dao.reverts import Reverted
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


def require_account(text: str) -> str:
    """An account's address, in lower case; InputError where it is none."""
    if not re.fullmatch(r"0x[0-9a-fA-F]{40}", text):
        raise InputError(f"not an account: {text!r}", hint="expected 0x and 40 hex digits")
    return text.lower()


def require_coval(dao: Contracts, key: AccountKey, amount_wei: int, *, what: str) -> None:
    """ChainError, before anything is sent, where the account holds less than it is about to pay."""
    held_wei = dao.token.balance_of(key.address)
    if held_wei < amount_wei:
        raise ChainError(
            f"{key.address} holds {show_coval(held_wei)}, and {what} is {show_coval(amount_wei)}",
            hint="get COVAL from somebody who holds some, or name another account",
        )


def try_calls(dao: Contracts, calls: Sequence[Call], key: AccountKey) -> None:
    """Reverted where the chain would refuse one of the calls now. Money that a call is not allowed
    to take yet is left aside: an earlier call allows it, and contracts ask for money last."""
    for place, call in enumerate(calls):
        try:
            dao.chain.simulate(call, sender=key.address)
        except Reverted as refusal:
            if place == 0 or refusal.name != "ERC20InsufficientAllowance":
                raise


def transact(
    dao: Contracts,
    call: Call,
    key: AccountKey,
    *,
    dry_run: bool,
    as_json: bool,
    result: Mapping[str, object] | None = None,
    told_of_sent: Callable[[Outcome], Mapping[str, object]] | None = None,
) -> Outcome:
    """Send a call (or, in a dry run, only try it) and print what came of it: `result`, and what
    `told_of_sent` reads off the transaction."""
    outcome = dao.chain.send(call, key.signer, dry_run=dry_run)
    said = dict(result or {})
    if told_of_sent is not None and not dry_run:
        said |= told_of_sent(outcome)
    action = decode_action(dao, call)
    document: dict[str, object] = {
        **call_to_result(call),
        "from": key.address,
        "sent": not dry_run,
        "gas": outcome.gas,
        "transaction": outcome.transaction,
        "block": outcome.block,
        "call": action.lines(),
        **said,
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
        for name, value in said.items():
            if isinstance(value, list):
                line(f"  {name}:")
                for text in value:
                    line(f"    {text}")
            else:
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
    """Try calls, send them one after the other (or, in a dry run, do not) and print them. Nothing
    is sent where one would be refused. `result` is added for --json only: what people should know
    before was told before."""
    try_calls(dao, calls, key)
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
