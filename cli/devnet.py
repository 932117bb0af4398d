# SPDX-License-Identifier: Apache-2.0
"""`covalue devnet`: a local chain with its state on disk."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cli.output import JsonOption, emit, guard
from dao.errors import InputError
from dao.keystore import AccountKey, create_password
from demo.devnet import ACCOUNTS, DEFAULT_PORT, dev_account
from demo.devnet_daemon import DEFAULT_FOLDER, bring_down, bring_up, open_running

app = typer.Typer(
    no_args_is_help=True,
    help="A local chain with its state on disk, for trying things out. Its accounts' keys are "
    "published: never send anything of worth to them.",
)

StateOption = Annotated[
    Path,
    typer.Option("--state", metavar="FOLDER", help="Where the chain's state and log are kept."),
]


@app.command()
@guard
def up(
    port: Annotated[
        int, typer.Option(min=1, max=65535, help="TCP port on this machine.")
    ] = DEFAULT_PORT,
    state: StateOption = DEFAULT_FOLDER,
    as_json: JsonOption = False,
) -> None:
    """Start the chain, or go on from where it was stopped.

    It runs in the background until "covalue devnet down". Does nothing if it is up already.
    """
    status = bring_up(state, port=port)
    stop = "covalue devnet down" + ("" if state == DEFAULT_FOLDER else f" --state {state}")
    emit(
        {
            "rpc_url": status.rpc_url,
            "chain_id": status.chain_id,
            "block": status.block,
            "process": status.pid,
            "folder": status.folder,
            "started": status.started,
        },
        as_json=as_json,
        text=lambda out: out.print(
            f"devnet {'is up' if status.started else 'was up already'} at {status.rpc_url}, "
            f"chain {status.chain_id}, block {status.block}\n"
            f"state and log are in {status.folder}; stop it with: {stop}",
            markup=False,
            soft_wrap=True,
        ),
    )


@app.command()
@guard
def down(state: StateOption = DEFAULT_FOLDER, as_json: JsonOption = False) -> None:
    """Stop the chain. Its state stays on disk."""
    stopped = bring_down(state)
    emit(
        {"stopped": stopped, "folder": state},
        as_json=as_json,
        text=lambda out: out.print("devnet stopped" if stopped else "no devnet was running"),
    )


@app.command()
@guard
def advance(
    seconds: Annotated[int, typer.Argument(min=1, help="How far to move chain time.")],
    state: StateOption = DEFAULT_FOLDER,
    as_json: JsonOption = False,
) -> None:
    """Move chain time forward, past a vote or a deadline."""
    chain = open_running(state)
    chain.request("evm_increaseTime", hex(seconds))
    chain.request("evm_mine")
    now = chain.now()
    emit(
        {"chain_time": now},
        as_json=as_json,
        text=lambda out: out.print(f"chain time is now {now}"),
    )


@app.command()
@guard
def fund(
    address: Annotated[str, typer.Argument(help="Account: 0x and 40 hex digits.")],
    ether: Annotated[int, typer.Option(min=1, max=10_000, help="Its new balance.")] = 10,
    state: StateOption = DEFAULT_FOLDER,
    as_json: JsonOption = False,
) -> None:
    """Give an account ether for gas. This ether exists on the devnet only."""
    digits = address.lower().removeprefix("0x")
    if len(digits) != 40 or not set(digits) <= set("0123456789abcdef"):
        raise InputError(f"not an account: {address!r}", hint="Expected 0x and 40 hex digits.")
    chain = open_running(state)
    chain.request("anvil_setBalance", f"0x{digits}", hex(ether * 10**18))
    balance = chain.balance(f"0x{digits}")
    emit(
        {"address": f"0x{digits}", "balance_wei": str(balance)},
        as_json=as_json,
        text=lambda out: out.print(f"0x{digits} holds {balance // 10**18} ether"),
    )


@app.command()
@guard
def key(
    index: Annotated[int, typer.Argument(min=0, max=ACCOUNTS - 1, help="Which account.")],
    keystore: Annotated[Path, typer.Argument(help="Keystore file to write.")],
    as_json: JsonOption = False,
) -> None:
    """Write the keystore of one of the devnet's own accounts, and its password beside it."""
    password_file = keystore.with_suffix(".password")
    create_password(password_file)
    secret = bytes(dev_account(index).key)
    account = AccountKey.create(keystore, password_file, light=True, secret=secret)
    emit(
        {"address": account.address, "keystore": keystore, "password_file": password_file},
        as_json=as_json,
    )
