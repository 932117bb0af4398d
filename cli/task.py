# SPDX-License-Identifier: Apache-2.0
"""`covalue task`: draft, check, forecast and propose a training task."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

import typer
from rich.console import Console

from cli.output import DryRunOption, JsonOption, console, emit, guard
from cli.session import ConfigOption
from cli.task_cost import policy_cost
from cli.task_files import TaskFileArgument, load_taskfile
from cli.task_forecast import forecast
from cli.task_new import new
from cli.task_parts import bond, seal, unseal
from dao.errors import TaskError
from dao.records import BlobRef, Task
from valuation.taskfile import TaskFile

app = typer.Typer(
    no_args_is_help=True,
    help="Draft a task, check it, see what it would reach, propose it.",
)

app.command()(new)


@app.command()
@guard
def validate(
    file: TaskFileArgument,
    quick: Annotated[
        bool, typer.Option("--quick", help="Leave out the set-up, and so the CID.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Say what is wrong with a task file, what voters should know, its epsilon and its CID.

    Exit code 0: it can be proposed; 2: it cannot, and every reason is named.
    """
    from dao.store import MemoryStore
    from privacy import accounting
    from valuation.blueprint import draw_blueprint
    from valuation.build import validate_taskfile

    taskfile, public = load_taskfile(file)
    findings = validate_taskfile(taskfile, public, accounting=accounting)
    if findings.errors:
        raise TaskError("; ".join(findings.errors), hint=f"Correct {file} and validate again.")
    policy = draw_blueprint(taskfile, public, accounting=accounting).policy
    cost = policy_cost(taskfile.title, policy)
    result: dict[str, object] = {
        "valid": True,
        "warnings": list(findings.warnings),
        "epsilon": cost.epsilon_micro / 1e6,
        "epsilon_micro": cost.epsilon_micro,
        "delta": policy.delta_e12 / 1e12,
        "noise_multiplier": policy.noise_multiplier_micro / 1e6,
        "rounds": policy.rounds,
        **cost.rounds_as_dict(),
    }
    if not quick:
        store = MemoryStore()
        with console.status("fitting the public set-up"):
            task = _build(taskfile, public, store.put)
        result["parameters"] = task.model.parameters
        result["cid"] = store.put(task.canonical()).cid
        result["sha256"] = task.digest()

    def tell(out: Console) -> None:
        for warning in findings.warnings:
            out.print(f"warning: {warning}", markup=False, style="yellow", soft_wrap=True)
        out.print(
            f"valid: it {cost.line()} (noise multiplier {result['noise_multiplier']:.4g})",
            soft_wrap=True,
        )
        if "cid" in result:
            out.print(f"CID {result['cid']}", soft_wrap=True)

    emit(result, as_json=as_json, text=tell)


app.command()(forecast)


@app.command()
@guard
def propose(
    file: TaskFileArgument,
    config: ConfigOption = None,
    dry_run: DryRunOption = False,
    as_json: JsonOption = False,
) -> None:
    """Store the task's record and all it names, and propose the vote that opens it."""
    from cli.proposing import send_proposal
    from cli.session import open_account, open_contracts
    from dao.governance import propose_task
    from dao.open_store import open_store
    from dao.store import MemoryStore, Store
    from privacy import accounting
    from valuation.build import validate_taskfile

    taskfile, public = load_taskfile(file)
    findings = validate_taskfile(taskfile, public, accounting=accounting)
    for warning in findings.warnings:
        console.print(f"warning: {warning}", markup=False, style="yellow", soft_wrap=True)
    settings, dao = open_contracts(config)
    key = open_account(settings)
    store: Store = MemoryStore() if dry_run else open_store(settings.store)
    with console.status("fitting the public set-up"):
        task = _build(taskfile, public, store.put)
    record = store.put(task.canonical())
    send_proposal(
        dao,
        propose_task(dao, task, record.cid),
        key,
        dry_run=dry_run,
        as_json=as_json,
        result={"task_cid": record.cid, "task_digest": task.digest()},
    )


app.command()(seal)
app.command()(bond)
app.command()(unseal)


def _build(taskfile: TaskFile, public: bytes | None, put: Callable[[bytes], BlobRef]) -> Task:
    from fl_client.bundle import bundle_sha256
    from privacy import accounting
    from valuation.build import build_task

    return build_task(taskfile, public, put, bundle_sha256=bundle_sha256(), accounting=accounting)
