# SPDX-License-Identifier: Apache-2.0
"""`covalue task`: draft, check, forecast and propose a training task."""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.console import Console

from cli.output import DryRunOption, JsonOption, console, emit, guard
from cli.session import ConfigOption
from cli.task_cost import policy_cost
from cli.task_files import TaskFileArgument, load_taskfile, read_file
from cli.task_forecast import forecast
from cli.task_parts import bond, seal, unseal
from dao.errors import InputError, TaskError
from dao.records import BlobRef, Task
from valuation.taskfile import TaskFile, parse_taskfile

app = typer.Typer(
    no_args_is_help=True,
    help="Draft a task from public rows, check it, see what it would reach, propose it.",
)

LEAST_EPSILON = 1e-6
"""Records hold epsilon in this unit."""


@app.command()
@guard
def new(
    public: Annotated[
        Path,
        typer.Argument(metavar="PUBLIC.csv", help="Public rows: everybody will see all of them."),
    ],
    target: Annotated[str, typer.Option(help="The column that holds the price.")],
    currency: Annotated[str, typer.Option(help="What the price is counted in.")] = "USD",
    title: Annotated[str | None, typer.Option(help="One line for the voters.")] = None,
    asset_class: Annotated[str, typer.Option(help="What is valued.")] = "homes",
    family: Annotated[
        Literal["kernel", "mlp"], typer.Option(help="The model: kernel, or a neural network.")
    ] = "kernel",
    public_n: Annotated[
        int, typer.Option(min=1, help="Units expected in all contributors together (a guess).")
    ] = 10_000,
    contributors: Annotated[
        int, typer.Option(min=1, max=256, help="How many contributors are expected.")
    ] = 10,
    epsilon: Annotated[float, typer.Option(help="What the task may reveal of one unit.")] = 8.0,
    coordinator: Annotated[
        str | None, typer.Option(metavar="ACCOUNT", help="The coordinator's account, 0x...")
    ] = None,
    output: Annotated[Path, typer.Option(help="Where to write the task file.")] = Path("task.toml"),
    force: Annotated[bool, typer.Option("--force", help="Overwrite that file.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Draft task.toml from public rows: what each column is, within which bounds.

    Read it and change what you know better; then run `covalue task validate`.
    """
    from valuation.draft import draft_task
    from valuation.rows import parse_csv
    from valuation.task_text import render_draft
    from valuation.taskfile import ZERO_ACCOUNT

    _require_epsilon(epsilon)
    if output.exists() and not force:
        raise InputError(f"{output} exists", hint="Give another --output, or --force.")
    draft = draft_task(
        parse_csv(read_file(public), name=str(public)), target=target, currency=currency
    )
    text = render_draft(
        draft,
        title=title or f"{asset_class}: {target}",
        asset_class=asset_class,
        public_rows=_relative(public, output),
        family=family,
        public_n=public_n,
        contributors=contributors,
        epsilon=epsilon,
        coordinator=coordinator or ZERO_ACCOUNT,
    )
    parse_taskfile(text)
    _write(output, text)
    result = {
        "task_file": str(output),
        "public_rows": draft.public_rows,
        "features": [feature.kind for feature in draft.features],
        "remarks": list(draft.remarks),
    }

    def tell(out: Console) -> None:
        out.print(f"wrote {output}: {len(draft.features)} features", markup=False)
        for remark in draft.remarks:
            out.print(f"  {remark}", markup=False, soft_wrap=True)
        out.print(f"next: covalue task validate {output}", markup=False)

    emit(result, as_json=as_json, text=tell)


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
    from valuation.build import draw_blueprint, validate_taskfile

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
    from cli.session import open_account, open_contracts, transact
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
    transact(
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


def _require_epsilon(epsilon: float) -> None:
    if not LEAST_EPSILON <= epsilon < math.inf:  # so NaN is refused too
        raise InputError(
            f"--epsilon {epsilon:g}: expected a finite number above 0, at least {LEAST_EPSILON:g}",
            hint="Usual are 0.5 (very safe) to 8; above 10 a unit is hardly protected.",
        )


def _build(taskfile: TaskFile, public: bytes | None, put: Callable[[bytes], BlobRef]) -> Task:
    from fl_client.bundle import bundle_sha256
    from privacy import accounting
    from valuation.build import build_task

    return build_task(taskfile, public, put, bundle_sha256=bundle_sha256(), accounting=accounting)


def _write(path: Path, text: str) -> None:
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise InputError(
            f"cannot write {path}: {error.strerror}", hint="Give another --output."
        ) from error


def _relative(public: Path, output: Path) -> str:
    """The public rows' path as the task file names it, from that file's folder."""
    return Path(os.path.relpath(public.resolve(), output.resolve().parent)).as_posix()
