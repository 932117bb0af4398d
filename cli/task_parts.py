# SPDX-License-Identifier: Apache-2.0
"""Sealed validation rows at the command line: commit to them, post their bond, open them."""

from __future__ import annotations

import hashlib
import os
import re
import secrets
from pathlib import Path
from typing import Annotated

import typer

from cli.output import DryRunOption, JsonOption, emit, guard
from cli.session import (
    ConfigOption,
    open_account,
    open_contracts,
    require_account,
    require_coval,
    require_task,
    transact_all,
    try_calls,
)
from dao.deployment import Contracts
from dao.errors import ChainError, InputError
from dao.messages import part_commitment
from dao.open_store import open_store
from dao.store import MemoryStore, Store

TaskArgument = Annotated[int, typer.Argument(metavar="TASK", help="The task's number on chain.")]
RowsArgument = Annotated[
    Path, typer.Argument(metavar="ROWS.csv", help="The sealed rows; published when opened.")
]
SaltOption = Annotated[
    Path | None,
    typer.Option("--salt", help="File that keeps the salt; default: that of the rows + .salt."),
]


@guard
def seal(
    rows: RowsArgument,
    holder: Annotated[str, typer.Option(help="Your account: it posts the bond and opens.")],
    salt: SaltOption = None,
    as_json: JsonOption = False,
) -> None:
    """Commit to validation rows without showing them: a salt, and the lines for task.toml.

    Keep rows and salt file to yourself, unchanged, until the task's last round is on chain.
    """
    from rounds.report import MAX_PART_BYTES
    from valuation.rows import parse_csv

    holder = require_account(holder)
    data = _read(rows)
    if len(data) > MAX_PART_BYTES:
        raise InputError(
            f"{rows} has {len(data):,} bytes, a part counts up to {MAX_PART_BYTES:,}",
            hint="seal fewer rows; a few hundred judge well",
        )
    parse_csv(data, name=str(rows))
    place = salt or _salt_beside(rows)
    value = secrets.token_hex(32)
    try:
        with os.fdopen(os.open(place, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(value + "\n")
    except FileExistsError as error:
        raise InputError(
            f"{place} exists, and a part can only be opened with the salt it was sealed with",
            hint="name another file with --salt, or keep to the seal you have",
        ) from error
    except OSError as error:
        raise InputError(
            f"cannot write {place}: {error.strerror}", hint="name another file with --salt"
        ) from error
    commitment = part_commitment(salt=value, part_sha256=hashlib.sha256(data).hexdigest())
    lines = f'[[part]]\nholder = "{holder}"\ncommitment = "{commitment}"'
    emit(
        {"holder": holder, "commitment": commitment, "salt_file": place},
        as_json=as_json,
        text=lambda out: out.print(
            f"add to task.toml:\n\n{lines}\n\nsalt kept in {place}", markup=False, soft_wrap=True
        ),
    )


@guard
def bond(
    task: TaskArgument,
    config: ConfigOption = None,
    dry_run: DryRunOption = False,
    as_json: JsonOption = False,
) -> None:
    """Post the bond of the sealed parts that your account holds. Lost where one stays closed."""
    settings, dao = open_contracts(config)
    key = open_account(settings)
    parts = [part for part in _parts_of(dao, task, key.address) if not _bonded(dao, task, part)]
    if not parts:
        raise ChainError(
            f"every part of task {task} that {key.address} holds has its bond",
            hint="open them after the last round: covalue task unseal",
        )
    bond_wei = dao.ledger.terms_of(task).part_bond_wei
    require_coval(dao, key, bond_wei * len(parts), what="the bond of your parts")
    calls = [dao.token.approve(dao.ledger.address, bond_wei * len(parts))]
    calls += [dao.ledger.post_part_bond(task, part) for part in parts]
    transact_all(dao, calls, key, dry_run=dry_run, as_json=as_json)


@guard
def unseal(
    task: TaskArgument,
    rows: RowsArgument,
    salt: SaltOption = None,
    config: ConfigOption = None,
    dry_run: DryRunOption = False,
    as_json: JsonOption = False,
) -> None:
    """Open a sealed part after the last round: publish its rows, and show them to the chain."""
    settings, dao = open_contracts(config)
    key = open_account(settings)
    data, place = _read(rows), salt or _salt_beside(rows)
    value = _read(place).decode("ascii", "replace").strip()
    if not re.fullmatch(r"[0-9a-f]{64}", value):
        raise InputError(f"{place} holds no salt", hint="expected the file of covalue task seal")
    committed = part_commitment(salt=value, part_sha256=hashlib.sha256(data).hexdigest())
    mine = _parts_of(dao, task, key.address)
    found = [part for part in mine if dao.ledger.part_of(task, part).commitment == committed]
    if not found:
        raise InputError(
            f"{rows} with this salt is none of the {len(mine)} parts of task {task} that "
            f"{key.address} holds",
            hint="rows and salt must be those that were sealed, byte for byte",
        )
    # nobody sees the rows before the chain lets the part be opened
    memory = MemoryStore()
    reference = memory.put(data)
    call = dao.ledger.open_part(
        task, found[0], salt=value, part_digest=reference.sha256, part_cid=reference.cid
    )
    try_calls(dao, [call], key)
    store: Store = memory if dry_run else open_store(settings.store)
    store.put(data)
    transact_all(dao, [call], key, dry_run=dry_run, as_json=as_json)


def _parts_of(dao: Contracts, task: int, account: str) -> list[int]:
    """Numbers of the parts that an account holds; InputError where it holds none."""
    require_task(dao, task)
    holders = [part.holder for part in dao.ledger.terms_of(task).parts]
    mine = [place for place, holder in enumerate(holders) if holder == account]
    if not mine:
        raise InputError(
            f"{account} holds none of the {len(holders)} sealed parts of task {task}",
            hint="use the account that the task names; covalue member show lists the holders",
        )
    return mine


def _bonded(dao: Contracts, task: int, part: int) -> bool:
    return dao.ledger.part_of(task, part).bonded


def _salt_beside(rows: Path) -> Path:
    return rows.with_name(rows.name + ".salt")


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise InputError(
            f"cannot read {path}: {error.strerror}", hint="name a file that you may read"
        ) from error
