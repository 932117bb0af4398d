# SPDX-License-Identifier: Apache-2.0
"""`covalue audit TASK`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from cli.output import JsonOption, console, emit, guard


@guard
def app(
    task: Annotated[
        str, typer.Argument(help="The task: its number on chain, or its digest (64 hex digits).")
    ],
    config: Annotated[
        Path | None, typer.Option("--config", help="Settings file; default covalue.toml.")
    ] = None,
    allow_seeded: Annotated[
        bool,
        typer.Option("--allow-seeded", help="Accept noise from a fixed seed (simulations only)."),
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Recompute a task from the chain and the store alone, and compare every digest.

    Needs an RPC endpoint, the deployment file and a store (or peers that have the content);
    nothing from the coordinator. Exit code 0: everything agrees; 3: something differs, and the
    first difference is named; 2: the audit could not run.
    """
    from audit.chain_state import find_task
    from audit.task import audit_task
    from cli.ratio_table import tell_studies, verdicts_as_json
    from dao.deployment import open_dao
    from dao.open_store import open_store
    from dao.settings import load_settings

    settings = load_settings(config)
    dao = open_dao(settings.chain.rpc_url, settings.chain.deployment)
    with console.status("auditing") as status:
        report = audit_task(
            dao,
            open_store(settings.store),
            find_task(dao, task),
            allow_seeded=allow_seeded,
            progress=lambda place: status.update(f"auditing: {place}"),
        )

    standing = dao.ledger.task_of(report.task_id, block=report.block)
    state = standing.state.name.lower()
    reach = f"it is {state}, {standing.last_round} of {standing.rounds} rounds are committed"

    def tell(out: Console) -> None:
        failure = report.first_failure
        if failure is None:
            out.print(
                f"[green]passed[/] task {report.task_id} at block {report.block}: "
                f"{len(report.checks)} checks, nothing differs; {reach}",
                soft_wrap=True,
            )
        else:
            out.print(f"[red]FAILED[/] at {failure.place}")
            out.print(failure.detail, markup=False, soft_wrap=True)
        if report.card is not None:
            out.print("the model's ratio study, recomputed from the opened validation rows:")
            tell_studies(out, report.card.studies, currency=report.card.target.currency)

    result = report.as_json() | {"state": state, "rounds_committed": standing.last_round}
    if report.card is not None:
        result |= verdicts_as_json(report.card.studies)
    emit(result, as_json=as_json, text=tell)
    if not report.ok:
        raise typer.Exit(3)
