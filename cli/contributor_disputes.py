# SPDX-License-Identifier: Apache-2.0
"""Disputes at the command line: a challenge, its bond where it was rejected, and the proof that a
coordinator signed two records for one round."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cli.evidence import EvidenceArgument, publish_with, read_evidence
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
from dao.calldata import show_coval
from dao.cid import blob_ref
from dao.equivocation import find_equivocation, kept_records
from dao.errors import ChainError, InputError
from dao.open_store import open_store
from dao.records import SignedRoundRecord
from dao.store import LocalStore, Store

TaskArgument = Annotated[int, typer.Argument(metavar="TASK", help="The task's number on chain.")]


@guard
def challenge(
    task: TaskArgument,
    evidence: EvidenceArgument,
    config: ConfigOption = None,
    dry_run: DryRunOption = False,
    as_json: JsonOption = False,
) -> None:
    """Challenge a task with published evidence and a bond. The members' vote decides.

    Until then nothing is committed or paid. Upheld, the task ends and you get half of the
    coordinator's bond; rejected, yours goes to the roster. Anyone may.
    """
    settings, dao = open_contracts(config)
    data = read_evidence(evidence)
    require_task(dao, task)
    key, reference = open_account(settings), blob_ref(data)
    bond_wei = dao.ledger.terms_of(task).challenge_bond_wei
    require_coval(dao, key, bond_wei, what="the bond of a challenge")
    calls = (
        dao.token.approve(dao.ledger.address, bond_wei),
        dao.ledger.challenge(task, evidence_digest=reference.sha256, evidence_cid=reference.cid),
    )
    publish_with(settings, dao, data, calls, key, dry_run=dry_run)
    named = {"evidence_cid": reference.cid}
    transact_all(dao, calls, key, dry_run=dry_run, as_json=as_json, result=named)


@guard
def prove_equivocation(
    task: TaskArgument,
    records: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[RECORD RECORD]",
            help="The two signed round records, each a file or a CID; without them your own "
            "store is looked through.",
            show_default=False,
        ),
    ] = None,
    config: ConfigOption = None,
    dry_run: DryRunOption = False,
    as_json: JsonOption = False,
) -> None:
    """Prove that the coordinator signed two records for one round. No vote is needed.

    The task ends; half of the coordinator's bond is yours, the rest is burned. Vaults keep every
    record that they were shown, so that their store holds the proof. Anyone may.
    """
    settings, dao = open_contracts(config)
    chain_task = require_task(dao, task)
    if records is not None and len(records) != 2:
        raise InputError(
            f"{len(records)} records are named", hint="name two of one round, or none at all"
        )
    if records is None:
        found = kept_records(LocalStore(settings.store.path))
    else:
        store = open_store(settings.store)
        found = iter([_read_record(store, name) for name in records])
    call = find_equivocation(dao, task, found)
    if call is None:
        where = settings.store.path if records is None else " and ".join(records)
        raise InputError(
            f"{where}: no two records of one round of task {task} that its coordinator "
            f"{chain_task.coordinator} signed",
            hint="the roster's other vaults may have been shown another record: ask them for "
            "theirs, and name both",
        )
    bond_wei = dao.ledger.terms_of(task).coordinator_bond_wei if chain_task.bond_posted else 0
    reward = {"reward_wei": str(bond_wei // 2), "reward": show_coval(bond_wei // 2)}
    key = open_account(settings)
    transact(dao, call, key, dry_run=dry_run, as_json=as_json, result=reward)


@guard
def withdraw_owed(
    task: TaskArgument,
    config: ConfigOption = None,
    dry_run: DryRunOption = False,
    as_json: JsonOption = False,
) -> None:
    """Take your part of the bonds that rejected challengers of a task lost.

    It goes to the task's roster in equal parts, for the time that the challenge took from them.
    """
    settings, dao = open_contracts(config)
    require_task(dao, task)
    key = open_account(settings)
    owed_wei = dao.ledger.owed_of(task, key.address)
    if owed_wei == 0:
        raise ChainError(
            f"task {task} owes {key.address} nothing",
            hint="only a rejected challenge leaves something to take; a payout is taken by "
            "covalue contributor claim",
        )
    call = dao.ledger.withdraw_owed(task)
    owed = {"owed_wei": str(owed_wei), "owed": show_coval(owed_wei)}
    transact(dao, call, key, dry_run=dry_run, as_json=as_json, result=owed)


def _read_record(store: Store, name: str) -> SignedRoundRecord:
    """A signed round record from a file of that name, else from the store."""
    path = Path(name)
    return SignedRoundRecord.parse(path.read_bytes() if path.is_file() else store.get(name))
