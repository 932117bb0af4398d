# SPDX-License-Identifier: Apache-2.0
"""`covalue model`: what was released, and whether an answer is genuine."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from cli.model_withdrawal import revoke, suspend, unsuspend
from cli.output import DryRunOption, JsonOption, emit, guard
from cli.proposing import send_proposal
from cli.session import ConfigOption, open_account, open_contracts
from dao.contracts.model_registry import Release, ReleaseStatus
from dao.errors import InputError
from dao.governance import propose_release
from dao.records import ModelCard

app = typer.Typer(
    no_args_is_help=True,
    help="Released models: list, show, propose, take back, verify an answer.",
)


def _summary(release: Release) -> dict[str, Any]:
    return {
        "release": release.number,
        "status": release.status.name.lower(),
        "task": release.task_id,
        "model_sha256": release.model_digest,
        "epsilon_micro": release.epsilon_micro,
        "released_at": release.released_at,
    }


@app.command("list")
@guard
def list_releases(config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """List every release ever made, with its status on chain."""
    _, dao = open_contracts(config)
    block = dao.chain.block().number
    count = dao.models.release_count(block=block)
    releases = [
        _summary(dao.models.release_of(number, block=block)) for number in range(1, count + 1)
    ]

    def tell(out: Console) -> None:
        if not releases:
            out.print("no model has been released yet; see [bold]covalue model propose[/]")
            return
        table = Table("release", "status", "task", "epsilon", "model SHA-256")
        for each in releases:
            table.add_row(
                str(each["release"]),
                each["status"],
                str(each["task"]),
                f"{each['epsilon_micro'] / 1e6:.3f}",
                each["model_sha256"],
            )
        out.print(table)

    emit({"block": block, "releases": releases}, as_json=as_json, text=tell)


@app.command()
@guard
def show(
    number: Annotated[
        int | None, typer.Argument(help="Number of the release; the current one without.")
    ] = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show a release: its status on chain, and the model card from the store."""
    from audit.published import read_report
    from cli.ratio_table import tell_studies, verdicts_as_json
    from dao.open_store import open_store

    settings, dao = open_contracts(config)
    release = dao.models.current() if number is None else dao.models.release_of(number)
    if release.status is ReleaseStatus.NONE:
        raise InputError(
            "no model has been released yet" if number is None else f"there is no release {number}",
            hint="covalue model list shows what there is",
        )
    digest = dao.ledger.final_of(release.task_id).score_digest
    card = read_report(open_store(settings.store), digest).card

    def tell(out: Console) -> None:
        lines = {
            "release": f"{release.number}, {release.status.name.lower()}",
            "what": f"{card.title} ({card.asset_class}), {card.family} model of task "
            f"{release.task_id}",
            "answers": f"{card.target.column} in {card.target.currency}",
            "model": f"SHA-256 {release.model_digest}, CID {card.model.cid}",
            "privacy": f"epsilon {release.epsilon_micro / 1e6:g} at delta "
            f"{card.delta_e12 / 1e12:g} per unit, {card.rounds} rounds, "
            f"{card.contributors} contributors",
            "intervals": intervals_of(card),
            "licence": card.licence,
        }
        for name, text in lines.items():
            out.print(f"{name:<9} {text}", markup=False, soft_wrap=True)
        tell_studies(out, card.studies, currency=card.target.currency)

    result = _summary(release) | {"card": card.model_dump(mode="json")}
    emit(result | verdicts_as_json(card.studies), as_json=as_json, text=tell)


def intervals_of(card: ModelCard) -> str:
    """In words, what the intervals of a model rest on."""
    level = f"{card.interval_level_micro / 1e4:g} % of the prices shall lie within"
    if card.calibrated is None:
        return f"{level}; one width for all, from the rows that judge; no confidence"
    return (
        f"{level}; widths and confidence from noisy residuals of about "
        f"{card.calibrated.units:,} units that took no part in training"
    )


@app.command()
@guard
def propose(
    task: Annotated[int, typer.Argument(help="Number of the finalised task on chain.")],
    config: ConfigOption = None,
    dry_run: DryRunOption = False,
    as_json: JsonOption = False,
) -> None:
    """Propose to the members to release the model of a finalised task.

    The vote approves task and release number; the digest comes from the task ledger.
    """
    settings, dao = open_contracts(config)
    call = propose_release(dao, task)
    send_proposal(dao, call, open_account(settings), dry_run=dry_run, as_json=as_json)


app.command()(suspend)
app.command()(unsuspend)
app.command()(revoke)


@app.command()
@guard
def verify(
    answer: Annotated[
        Path, typer.Argument(help="JSON file: the API's answer, or one valuation of it.")
    ],
    signer: Annotated[
        str | None,
        typer.Option("--signer", help="Account that must have signed; default: the one it names."),
    ] = None,
    row: Annotated[
        Path | None, typer.Option("--row", help="JSON file of the row that was sent.")
    ] = None,
    offline: Annotated[
        bool, typer.Option("--offline", help="Check the signature alone, without the chain.")
    ] = False,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Check an answer of the API: its signature, its row, and its release on chain.

    Exit code 0: everything holds; 3: something does not, and it is named; 2: it could not be
    checked.
    """
    from inference.limits import parse_rows
    from inference.verify import check_input, check_release, check_signature, parse_answers

    answers = parse_answers(_read(answer), name=str(answer))
    checks = [check_signature(each, expected_signer=signer) for each in answers]
    if row is not None:
        rows = parse_rows(_read(row), max_rows=len(answers))
        if len(rows) != len(answers):
            raise InputError(f"{row} holds {len(rows)} rows for {len(answers)} answers")
        checks += [check_input(each, sent) for each, sent in zip(answers, rows, strict=True)]
    if not offline:
        _, dao = open_contracts(config)
        chain_id = dao.chain.chain_id
        checks += [check_release(each, dao.models, chain_id=chain_id) for each in answers]
    ok = all(check.ok for check in checks)

    def tell(out: Console) -> None:
        for check in checks:
            mark = "[green]holds[/]" if check.ok else "[red]FAILS[/]"
            out.print(f"{mark}  {check.name}: {check.detail}", soft_wrap=True)

    shown = [{"name": c.name, "ok": c.ok, "detail": c.detail} for c in checks]
    emit({"ok": ok, "answers": len(answers), "checks": shown}, as_json=as_json, text=tell)
    if not ok:
        raise typer.Exit(3)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise InputError(
            f"cannot read {path}: {error.strerror}", hint="Name a file that you may read."
        ) from error
