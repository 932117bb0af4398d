# SPDX-License-Identifier: Apache-2.0
"""`covalue contributor check`: what of a file fits a task, and what the ledger can still afford.

With a FILE it needs neither vault nor chain: the task may be a task file or a task's record.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from cli.output import JsonOption, console, emit, guard
from cli.session import ConfigOption, open_contracts, require_task
from cli.task_files import read_file
from dao.cid import of_digest
from dao.errors import InputError, RecordError, StoreError, VaultRefusal
from dao.open_store import open_store
from dao.records import BlobRef, Task
from dao.settings import Settings, load_settings
from fl_client.opening import policy_floor, read_account

if TYPE_CHECKING:
    from dao.deployment import Contracts
    from dao.store import Store
    from fl_client.check.report import DataReport
    from privacy.ledger import LedgerState
    from valuation.schema import Schema


@dataclass(frozen=True)
class GivenTask:
    """What a file is checked against: `record` where the task is one already, `public` the bytes of
    its public rows, or `no_public` why there are none."""

    schema: Schema
    told: str
    record: Task | None
    public: bytes | None
    no_public: str = ""


@guard
def check(
    file: Annotated[
        Path | None,
        typer.Argument(
            metavar="[FILE]",
            help="CSV or Parquet file to check; default the vault's records, and its ledger.",
            show_default=False,
        ),
    ] = None,
    task: Annotated[
        str | None,
        typer.Option(help="The task: its number on chain, a task file, or a task's record."),
    ] = None,
    public: Annotated[
        Path | None,
        typer.Option(help="The task's public rows, where they are not at the place it names."),
    ] = None,
    html: Annotated[
        Path | None, typer.Option(help="Write the report there, with pictures, as one HTML file.")
    ] = None,
    rebuild_witness: Annotated[
        bool,
        typer.Option(
            "--rebuild-witness",
            help="Trust ledger.jsonl as it is. Only if you know that it is the newest one.",
        ),
    ] = False,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Check records against a task: which rows count, which not and why, and how they differ from
    the public rows. Without FILE: the ledger, and the vault's own records.

    The report is for you alone. Nothing of it leaves this machine.

    Exit code 2 where no row counts at all; the report is then printed and written all the same.
    """
    if file is not None and task is None:
        raise InputError(
            f"which task shall {file} be checked against?",
            hint="name it: --task NUMBER, --task task.toml, or --task RECORD.json",
        )
    if task is None and (html is not None or public is not None):
        raise InputError("--html and --public need a task", hint="name it with --task")
    if file is not None and rebuild_witness:
        raise InputError(
            "--rebuild-witness concerns the ledger, not a file", hint="give it without FILE"
        )
    result: dict[str, object] = {}
    given = None if task is None else open_task(task, public, config)
    if file is None:
        settings = load_settings(config)
        file = _check_ledger(settings, config, given, result, rebuild_witness=rebuild_witness)
    report = None
    if given is not None:
        report = _inspect(file, given)
        result |= report.as_dict()
        if html is not None:
            from fl_client.check.page import render_page, write_page

            if html.exists() and html.samefile(file):
                raise InputError(f"{html} is the file itself", hint="name another after --html")
            write_page(html, render_page(report, task=given.told))
            result["html"] = str(html)

    refusal = {} if report is None or report.accepted else _refusal(report)
    result |= refusal

    from cli.check_text import tell_check

    emit(result, as_json=as_json, text=lambda out: tell_check(out, result, report))
    if refusal and not as_json:
        console.print(f"[bold red]refused[/] {escape(refusal['error'])}", soft_wrap=True)
        console.print(f"[dim]  → {escape(refusal['hint'])}[/]", soft_wrap=True)
    if refusal:
        raise typer.Exit(2)


def _refusal(report: DataReport) -> dict[str, str]:
    """Message and hint, as every refused command has them, where no row can be used."""
    return {
        "error": f"no row of {report.file} counts: all {report.rows:,} are rejected",
        "hint": "correct what the report names, or see whether file and task belong together",
    }


def _check_ledger(
    settings: Settings,
    config: Path | None,
    given: GivenTask | None,
    result: dict[str, object],
    *,
    rebuild_witness: bool,
) -> Path:
    """Add what the ledger says to `result`; the vault's records. Refused where the ledger is older
    than what this vault's key has signed on chain, before any witness is rebuilt."""
    from fl_client.budget import read_ledger, refuse_unpublished_past
    from fl_client.opening import RECORDS, open_vault

    vault = open_vault(settings)
    _, dao = open_contracts(config)
    account = vault.config.account
    state = read_ledger(settings.vault, witnessed=not rebuild_witness)
    unseen = refuse_unpublished_past(state, dao, vault.store, account=account)
    result["not_looked_at"] = list(unseen)
    if rebuild_witness:
        state = vault.rebuild_witness()
    delta = settings.vault.delta_e12
    result["ledger_entries"] = state.length
    result["epsilon_spent_micro"] = state.spent_epsilon_micro(delta_e12=delta)
    result["epsilon_charged_micro"] = state.charged_epsilon_micro(delta_e12=delta)
    result["epsilon_limit_micro"] = settings.vault.max_epsilon_micro
    if given is not None and given.record is not None:
        result["affordable"], result["refused_because"] = _would_take(
            settings, dao, vault.store, state, given.record
        )
    return settings.vault.path / RECORDS


def _would_take(
    settings: Settings, dao: Contracts, store: Store, state: LedgerState, task: Task
) -> tuple[bool, str | None]:
    """Whether the vault would answer the task beside those joined before it, or has reserved it
    already; else why not. The same question as before joining."""
    from cli.contributor_status import joined_tasks
    from fl_client.budget import after_joining

    account = read_account(settings.vault.path)
    joined = joined_tasks(dao, store, account, besides=task.digest())
    try:
        after_joining(state, policy_floor(settings.vault), task, joined=joined)
    except VaultRefusal as error:
        return False, error.message
    return True, None


def _inspect(file: Path, given: GivenTask) -> DataReport:
    from fl_client.check.inspection import inspect_records
    from valuation.rows import parse_csv

    public = None if given.public is None else parse_csv(given.public, name="public rows")
    try:
        with file.open("rb") as opened, console.status("reading") as status:
            return inspect_records(
                opened,
                given.schema,
                name=file.name,
                public=public,
                no_public=given.no_public,
                on_rows=lambda rows: status.update(f"reading: {rows:,} rows"),
            )
    except OSError as error:
        number = str(file).isdecimal()
        raise InputError(
            f"cannot read {file}: {error.strerror}",
            hint=f"a task is named so: --task {file}" if number else "name a file of yours",
        ) from error


def open_task(name: str, public: Path | None, config: Path | None) -> GivenTask:
    """The task of that number on chain, or in that file.

    Raises:
        InputError: no such file; a file that is no task's record; other public rows than the task
            names. TaskError: no task file. RecordError, StoreError: the store holds no such task.
    """
    if name.isdecimal() and not Path(name).exists():
        settings, dao = open_contracts(config)
        digest = require_task(dao, int(name)).task_digest
        record = Task.parse(open_store(settings.store).get(of_digest(digest)))
        return _from_record(record, f"task {name}", public, config)
    data = read_file(Path(name))
    if data.lstrip().startswith(b"{"):
        try:
            record = Task.parse(data)
        except RecordError as error:
            raise InputError(
                f"{name} is no task's record: {error.message[:300]}",
                hint="a record is the canonical JSON that was proposed; or give the task file",
            ) from error
        return _from_record(record, name, public, config)
    return _from_taskfile(data, Path(name), public)


def _from_record(record: Task, name: str, public: Path | None, config: Path | None) -> GivenTask:
    told = f"{name}: {record.title}"
    if record.public_rows is None:
        return GivenTask(record, told, record, None, "the task has no public rows")
    if public is not None:
        data = read_file(public)
        if hashlib.sha256(data).hexdigest() != record.public_rows.sha256:
            raise InputError(
                f"{public} is not the file of public rows that the task names",
                hint=f"its SHA-256 must be {record.public_rows.sha256}",
            )
        return GivenTask(record, told, record, data)
    return _with_stored_rows(record, told, record.public_rows, config)


def _with_stored_rows(record: Task, told: str, rows: BlobRef, config: Path | None) -> GivenTask:
    try:
        data = open_store(load_settings(config).store).get(rows.cid)
    except StoreError as error:
        why = f"the public rows are not at hand ({error.message}); name them with --public"
        return GivenTask(record, told, record, None, why)
    return GivenTask(record, told, record, data)


def _from_taskfile(data: bytes, path: Path, public: Path | None) -> GivenTask:
    from dao.records import PrivacyUnit
    from valuation.schema import TableSchema, check_schema
    from valuation.standard import standard_features, standard_target
    from valuation.taskfile import parse_taskfile

    try:
        taskfile = parse_taskfile(data.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is not UTF-8 text", hint="Save it as UTF-8.") from error
    unit = taskfile.unit
    # Centres and spreads do not decide on rows, so those of the bounds will do.
    schema = TableSchema(
        target=standard_target(taskfile.target, None),
        features=standard_features(taskfile.feature, None),
        unit=PrivacyUnit(kind=unit.kind, column=unit.column, max_rows=unit.max_rows),
    )
    check_schema(schema)
    told = f"{path.name}: {taskfile.title}"
    if public is None and taskfile.public_rows is None:
        return GivenTask(schema, told, None, None, "the task names no public rows")
    rows = public or path.parent / str(taskfile.public_rows)
    return GivenTask(schema, told, None, read_file(rows))
