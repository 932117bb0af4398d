# SPDX-License-Identifier: Apache-2.0
"""`covalue coordinator`: certificates, running a task, looking at it."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from cli.output import DryRunOption, JsonOption, call_to_result, console, emit, guard
from cli.session import ConfigOption, open_account, open_contracts, require_task, transact
from dao.calldata import show_duration
from dao.chain import Call
from dao.cid import of_digest
from dao.contracts.task_types import TaskState
from dao.deployment import Contracts
from dao.errors import ChainError, InputError
from dao.open_store import open_store
from dao.peer import BlockServer
from dao.records import Task
from dao.settings import SETTINGS_FILE, Settings, load_settings
from dao.store import LocalStore
from demo.deployment import admit_nodes, certificates_of, run_task, superlink
from fl_server.certificates import create_certificates
from fl_server.journal import read_entries

app = typer.Typer(no_args_is_help=True, help="Run the federation of a task.")
TaskArgument = Annotated[int, typer.Argument(metavar="TASK", help="The task's number on chain.")]


@app.command()
@guard
def certs(
    host: Annotated[
        list[str],
        typer.Option(help="Name or IP address at which contributors reach you; may be repeated."),
    ],
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make the TLS certificates of your SuperLink. Give ca.crt to every contributor."""
    settings = load_settings(config)
    paths = create_certificates(certificates_of(settings).ca.parent, hosts=host)
    emit(
        {"ca": paths.ca, "certificate": paths.certificate, "key": paths.key, "hosts": host},
        as_json=as_json,
    )


@app.command()
@guard
def run(
    task: TaskArgument,
    config: ConfigOption = None,
    dry_run: DryRunOption = False,
    as_json: JsonOption = False,
) -> None:
    """Post the bond and start the task where that is due, then train it to its close.

    Starts a SuperLink unless one answers at coordinator.superlink_address, serves the store to
    contributors, and lets in the SuperNodes of the roster. Interrupted, it resumes where it ended.
    """
    settings, dao = open_contracts(config)
    if config is not None and config.name != SETTINGS_FILE.name:
        raise InputError(
            f"the ServerApp reads {SETTINGS_FILE.name}, not {config.name}",
            hint=f"name the settings file {SETTINGS_FILE.name}",
        )
    key = open_account(settings)
    calls = _due_calls(dao, task)
    if dry_run:
        emit({"calls": [call_to_result(call) for call in calls]}, as_json=as_json)
        return
    for call in calls:
        dao.chain.send(call, key.signer)
        console.print(call.description)
    store = open_store(settings.store)
    record = Task.parse(store.get(of_digest(dao.ledger.task_of(task).task_digest)))
    folder = Path.cwd() if config is None else config.resolve().parent
    handed_on = {name: value for name, value in os.environ.items() if name.startswith("COVALUE_")}
    serving = settings.store
    with (
        BlockServer(
            LocalStore(serving.path), host=serving.serve_host, port=serving.serve_port
        ) as server,
        superlink(settings, settings_folder=folder, environment=handed_on) as control,
    ):
        console.print(f"content at {server.url}, SuperLink at {_address(settings)}")
        missing = admit_nodes(control, dao, store, settings, task)
        for account in missing:
            console.print(f"no SuperNode key of {account}: it cannot take part")
        run_task(
            control,
            settings,
            task_id=task,
            task_bundle_sha256=record.bundle_sha256,
            on_entry=lambda entry: _tell(entry, record.total_rounds),
        )
    emit(_standing(dao, task), as_json=as_json)


@app.command()
@guard
def publish(config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """Serve your store until stopped (Ctrl-C), without training.

    Voters and contributors read a task before it starts. Whoever proposed it, or will run it,
    serves it so until "covalue coordinator run" does.
    """
    serving = load_settings(config).store
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    with BlockServer(
        LocalStore(serving.path), host=serving.serve_host, port=serving.serve_port
    ) as server:
        emit(
            {"url": server.url},
            as_json=as_json,
            text=lambda out: out.print(f"content at {server.url}; Ctrl-C stops it"),
        )
        stop.wait()


@app.command()
@guard
def finalise(
    task: TaskArgument,
    config: ConfigOption = None,
    dry_run: DryRunOption = False,
    as_json: JsonOption = False,
) -> None:
    """Pay out a closed task after its challenge window. Anyone may."""
    settings, dao = open_contracts(config)
    require_task(dao, task)
    call = dao.ledger.finalise(task)
    transact(dao, call, open_account(settings), dry_run=dry_run, as_json=as_json)


@app.command()
@guard
def abort(
    task: TaskArgument,
    config: ConfigOption = None,
    dry_run: DryRunOption = False,
    as_json: JsonOption = False,
) -> None:
    """End a task that did not close before its deadline. Anyone may.

    Stakes and bonds are free again and the budget is burned; what is committed stays. An open
    challenge puts it off until the members' time to decide it is over.
    """
    settings, dao = open_contracts(config)
    _refuse_early_abort(dao, task)
    call = dao.ledger.abort(task)
    transact(dao, call, open_account(settings), dry_run=dry_run, as_json=as_json)


@app.command()
@guard
def status(task: TaskArgument, config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """Where a task stands on chain and in this coordinator's journal."""
    settings, dao = open_contracts(config)
    require_task(dao, task)
    entries = read_entries(settings.coordinator.path / f"task-{task}.jsonl")
    signed = [entry for entry in entries if entry["kind"] == "signed"]
    emit(_standing(dao, task) | {"rounds_signed": len(signed)}, as_json=as_json)


def _refuse_early_abort(dao: Contracts, task_id: int) -> None:
    """ChainError with the time that is left, or with what is to be done in place of it."""
    task = require_task(dao, task_id)
    limit = task.deadline
    challenge = dao.ledger.challenge_of(task_id, from_block=dao.deployment.block)
    if challenge is not None:
        limit = max(limit, challenge.opened_at + dao.ledger.challenge_timeout_seconds())
    elif task.state is TaskState.CLOSED:
        raise ChainError(
            f"task {task_id} is closed: what nobody disputes is earned",
            hint=f"covalue coordinator finalise {task_id}, after its challenge window",
        )
    ended = task.state in (TaskState.FINALISED, TaskState.ABORTED)
    left = limit - dao.chain.now()
    if left > 0 and not ended:
        raise ChainError(
            f"task {task_id} can be aborted in {show_duration(left)} of chain time",
            hint="until then it can go on; a coordinator that cheats is stopped by covalue "
            "contributor challenge or prove-equivocation",
        )


def _due_calls(dao: Contracts, task_id: int) -> tuple[Call, ...]:
    task = require_task(dao, task_id)
    if task.state is not TaskState.OPEN:
        return ()
    calls: list[Call] = []
    if not task.bond_posted:
        bond_wei = dao.ledger.terms_of(task_id).coordinator_bond_wei
        calls += [
            dao.token.approve(dao.ledger.address, bond_wei),
            dao.ledger.post_bond(task_id),
        ]
    calls.append(dao.ledger.start(task_id))
    return tuple(calls)


def _standing(dao: Contracts, task_id: int) -> dict[str, object]:
    task = dao.ledger.task_of(task_id)
    challenge = dao.ledger.challenge_of(task_id, from_block=dao.deployment.block)
    return {
        "task": task_id,
        "state": task.state.name.lower(),
        "digest": task.task_digest,
        "rounds": task.rounds,
        "rounds_committed": task.last_round,
        "checkpoints": task.checkpoint_count,
        "contributors": task.roster_size,
        "parts_opened": task.parts_opened,
        "deadline": task.deadline,
        "challenge": None if challenge is None else asdict(challenge),
        "model_sha256": task.model_digest,
    }


def _address(settings: Settings) -> str:
    return settings.coordinator.superlink_address


def _tell(entry: Mapping[str, object], rounds: int) -> None:
    if entry["kind"] == "signed":
        console.print(f"round {entry['round']} of {rounds} signed")
    elif entry["kind"] == "answers" and entry["refusals"]:
        console.print(f"round {entry['round']}: refused by {entry['refusals']}")
    elif entry["kind"] == "report":
        console.print("scores computed")
