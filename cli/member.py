# SPDX-License-Identifier: Apache-2.0
"""`covalue member`: delegate, read proposals, vote, queue, execute."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from cli.member_proposals import judged_challenges, propose, resolve, slash
from cli.output import DryRunOption, JsonOption, emit, guard
from cli.session import ConfigOption, open_account, open_contracts, require_account, transact
from cli.task_cost import proposed_costs
from dao import governance
from dao.calldata import plain_text, show_coval, show_time
from dao.contracts.governor import ProposalState, Support
from dao.errors import InputError
from dao.governance import ProposalView
from dao.open_store import open_store

app = typer.Typer(
    no_args_is_help=True,
    help="Take part in votes: delegate, propose, read what is proposed, vote, queue, execute.",
)

ProposalArgument = Annotated[
    str, typer.Argument(metavar="PROPOSAL", help='Its number in "covalue member proposals".')
]


class Choice(StrEnum):
    """How one votes."""

    FOR = "for"
    AGAINST = "against"
    ABSTAIN = "abstain"


@app.command()
@guard
def delegate(
    to: Annotated[
        str | None, typer.Argument(help="Who votes with your COVAL; default yourself.")
    ] = None,
    config: ConfigOption = None,
    dry_run: DryRunOption = False,
    as_json: JsonOption = False,
) -> None:
    """Say who votes with your COVAL. Until you do, it does not vote at all.

    Counts for proposals of which the vote begins afterwards.
    """
    settings, dao = open_contracts(config)
    key = open_account(settings)
    call = dao.token.delegate(require_account(to or key.address))
    transact(dao, call, key, dry_run=dry_run, as_json=as_json)


@app.command()
@guard
def proposals(
    open_only: Annotated[
        bool, typer.Option("--open", help="Only those that can still come into force.")
    ] = False,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """List proposals, oldest first."""
    _, dao = open_contracts(config)
    views = [
        governance.view_proposal(dao, item, trials=False) for item in governance.list_proposals(dao)
    ]
    if open_only:
        views = [view for view in views if view.state in governance.OPEN_STATES]
    emit(
        {"proposals": [_summary(view) for view in views]},
        as_json=as_json,
        text=lambda out: _tell_list(out, views),
    )


@app.command()
@guard
def show(
    proposal: ProposalArgument,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show where a proposal stands and, in words, everything it would do.

    Each action is also tried on the chain, without sending anything. For a task that it opens:
    what its record, from the store, costs in privacy. For a challenge that it decides: who made it
    and where the evidence lies. Read this before you vote.
    """
    settings, dao = open_contracts(config)
    view = governance.view_proposal(dao, governance.find_proposal(dao, proposal))
    costs = proposed_costs(open_store(settings.store), view.actions)
    challenges = judged_challenges(dao, view.actions)
    document = _document(view) | {"tasks": costs, "challenges": challenges}

    def tell(out: Console) -> None:
        _tell(out, view)
        for found in (*costs, *challenges):
            out.print(plain_text(str(found["says"])), markup=False, soft_wrap=True, style="bold")

    emit(document, as_json=as_json, text=tell)


@app.command()
@guard
def vote(
    proposal: ProposalArgument,
    choice: Annotated[Choice, typer.Argument(help="for, against or abstain.")],
    reason: Annotated[str, typer.Option(help="Published with the vote.")] = "",
    config: ConfigOption = None,
    dry_run: DryRunOption = False,
    as_json: JsonOption = False,
) -> None:
    """Vote on a proposal. A vote cannot be changed."""
    settings, dao = open_contracts(config)
    found = governance.find_proposal(dao, proposal)
    call = governance.vote(dao, found, Support[choice.name], reason=reason)
    key = open_account(settings)
    weight = dao.token.past_votes(key.address, dao.governor.vote_start(found.id))
    if weight == 0:
        raise InputError(
            f"{key.address} had no votes when the vote on proposal {found.number} began",
            hint='Votes need delegation before that: "covalue member delegate".',
        )
    votes = {"votes_wei": str(weight), "proposal": found.number}
    transact(dao, call, key, dry_run=dry_run, as_json=as_json, result=votes)


@app.command()
@guard
def cancel(
    proposal: ProposalArgument,
    config: ConfigOption = None,
    dry_run: DryRunOption = False,
    as_json: JsonOption = False,
) -> None:
    """Take back a proposal of yours, as long as its vote has not begun."""
    settings, dao = open_contracts(config)
    call = governance.cancel(dao, governance.find_proposal(dao, proposal))
    transact(dao, call, open_account(settings), dry_run=dry_run, as_json=as_json)


@app.command()
@guard
def queue(
    proposal: ProposalArgument,
    config: ConfigOption = None,
    dry_run: DryRunOption = False,
    as_json: JsonOption = False,
) -> None:
    """Put a passed proposal into the timelock. Anyone may."""
    settings, dao = open_contracts(config)
    call = governance.queue(dao, governance.find_proposal(dao, proposal))
    transact(dao, call, open_account(settings), dry_run=dry_run, as_json=as_json)


@app.command()
@guard
def execute(
    proposal: ProposalArgument,
    config: ConfigOption = None,
    dry_run: DryRunOption = False,
    as_json: JsonOption = False,
) -> None:
    """Bring a queued proposal into force, after the timelock's delay. Anyone may."""
    settings, dao = open_contracts(config)
    call = governance.execute(dao, governance.find_proposal(dao, proposal))
    transact(dao, call, open_account(settings), dry_run=dry_run, as_json=as_json)


app.command()(resolve)
app.command()(slash)
app.command()(propose)


def _summary(view: ProposalView) -> dict[str, object]:
    return {
        "number": view.proposal.number,
        "id": str(view.proposal.id),
        "title": view.proposal.title,
        "proposer": view.proposal.proposer,
        "state": view.state.name.lower(),
        "next_step": view.next_step,
        "warnings": sum(len(action.warnings) for action in view.actions),
    }


def _document(view: ProposalView) -> dict[str, object]:
    trials = [{"passes": trial.passes, "says": trial.says} for trial in view.trials]
    return {
        **_summary(view),
        "description": view.proposal.description,
        "chain_time": view.now,
        "vote_start": view.vote_start,
        "vote_end": view.vote_end,
        "executable_at": view.executable_at,
        "for_wei": str(view.tally.for_wei),
        "against_wei": str(view.tally.against_wei),
        "abstain_wei": str(view.tally.abstain_wei),
        "quorum_wei": None if view.quorum_wei is None else str(view.quorum_wei),
        "actions": [
            {
                "contract": action.contract,
                "function": action.function,
                "target": action.target,
                "value_wei": str(action.value_wei),
                "arguments": [
                    {"name": item.name, "type": item.type, "value": item.raw}
                    for item in action.arguments
                ],
                "warnings": list(action.warnings),
                "data": action.data,
            }
            for action in view.actions
        ],
        "trials": trials,
    }


def _tell_list(out: Console, views: list[ProposalView]) -> None:
    if not views:
        out.print("no proposals")
        return
    table = Table("no.", "title", "state", "next", "warnings")
    for view in views:
        warnings = sum(len(action.warnings) for action in view.actions)
        table.add_row(
            str(view.proposal.number),
            plain_text(view.proposal.title)[:80],
            view.state.name.lower(),
            view.next_step,
            f"[bold red]{warnings}[/]" if warnings else "",
        )
    out.print(table)


def _tell(out: Console, view: ProposalView) -> None:
    def line(text: str, style: str = "") -> None:
        out.print(plain_text(text), markup=False, soft_wrap=True, style=style)

    line(f"Proposal {view.proposal.number}: {view.proposal.title}", "bold")
    line(f"id {view.proposal.id}")
    line(f"by {view.proposal.proposer}")
    line(f"{view.state.name.lower()}; {view.next_step}")
    line(f"vote from {show_time(view.vote_start)} to {show_time(view.vote_end)}")
    tally, quorum = view.tally, view.quorum_wei
    line(
        f"for {show_coval(tally.for_wei)}, against {show_coval(tally.against_wei)}, "
        f"abstain {show_coval(tally.abstain_wei)}"
        + ("" if quorum is None else f"; quorum {show_coval(quorum)}")
    )
    line("\nThe proposer says (nobody has checked it):", "dim")
    for text in view.proposal.description.splitlines():
        line(f"  {text}")
    line("\nWhat it does:", "bold")
    for place, action in enumerate(view.actions):
        for text in action.lines():
            line(f"  {text}", "bold red" if "WARNING" in text or "UNKNOWN" in text else "")
        if view.trials:
            trial = view.trials[place]
            line(f"  tried now: {trial.says}", "" if trial.passes else "red")
    if len(view.trials) > 1:
        line("  Actions were tried one by one; together they may do something else.", "dim")
    if view.state is ProposalState.EXECUTED:
        line("  It has been executed.")
