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
    fresh: Annotated[
        bool,
        typer.Option("--fresh", help="Go on from no earlier audit, and keep nothing for a later."),
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Recompute a task from the chain and the store alone, and compare every digest.

    Needs an RPC endpoint, the deployment file and a store (or peers that have the content);
    nothing from the coordinator. One that is interrupted goes on where it was: what it has
    recomputed is kept in ~/.cache/covalue/audits, and all bytes are read again. Exit code 0:
    everything agrees; 3: something differs or is withheld, and the first such place is named; 2:
    the audit could not run.
    """
    from audit.asking import AskingAgain
    from audit.chain_state import find_task
    from audit.kept_file import DEFAULT_FOLDER
    from audit.task import audit_task
    from cli.audit_progress import shown_progress
    from cli.ratio_table import tell_studies, verdicts_as_json
    from dao.deployment import open_dao
    from dao.open_store import open_store
    from dao.settings import load_settings

    settings = load_settings(config)
    dao = open_dao(settings.chain.rpc_url, settings.chain.deployment)
    store = open_store(settings.store)
    alone = not settings.store.peers and settings.store.ipfs_api is None
    try:
        with shown_progress(console, quiet=as_json) as tell:
            report = audit_task(
                dao,
                store if alone else AskingAgain(store),
                find_task(dao, task),
                allow_seeded=allow_seeded,
                tell=tell,
                keep_in=None if fresh else DEFAULT_FOLDER,
                optional=store,
            )
    except KeyboardInterrupt:
        if not fresh:
            console.print("the next audit of this task goes on from the last checkpoint checked")
        raise

    standing = dao.ledger.task_of(report.task_id, block=report.block)
    state = standing.state.name.lower()
    reach = f"it is {state}, {standing.last_round} of {standing.rounds} rounds are committed"

    def tell_result(out: Console) -> None:
        failure = report.first_failure
        if failure is None:
            out.print(
                f"[green]passed[/] task {report.task_id} at block {report.block}: "
                f"{len(report.checks)} checks, nothing differs; {reach}",
                soft_wrap=True,
            )
        else:
            out.print(f"[red]FAILED[/] at {failure.place}: {failure.fault}", soft_wrap=True)
            out.print(failure.detail, markup=False, soft_wrap=True)
        if report.rounds_kept:
            out.print(
                f"rounds 1 to {report.rounds_kept} were recomputed by an earlier audit of yours; "
                "their bytes were read again (--fresh recomputes them)",
                soft_wrap=True,
            )
        if report.card is not None:
            out.print("the model's ratio study, recomputed from the opened validation rows:")
            tell_studies(out, report.card.studies, currency=report.card.target.currency)

    result = report.as_json() | {"state": state, "rounds_committed": standing.last_round}
    if report.card is not None:
        result |= verdicts_as_json(report.card.studies)
    emit(result, as_json=as_json, text=tell_result)
    if not report.ok:
        raise typer.Exit(3)
