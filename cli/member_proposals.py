# SPDX-License-Identifier: Apache-2.0
"""What a member proposes: the end of a challenge, the loss of a stake, a change of the DAO."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict
from enum import StrEnum
from typing import Annotated

import typer

from cli.evidence import EvidenceArgument, publish_with, read_evidence
from cli.output import DryRunOption, JsonOption, guard
from cli.proposing import ReasonOption, send_proposal
from cli.session import ConfigOption, open_account, open_contracts, require_account, require_task
from dao import motions
from dao.calldata import Action, show_time
from dao.cid import blob_ref
from dao.deployment import Contracts
from dao.errors import InputError
from valuation.taskfile import wei_of

_OWN_COMMANDS = {
    "TaskLedger.openTask": "covalue task propose",
    "TaskLedger.resolve": "covalue member resolve",
    "ContributorRegistry.slash": "covalue member slash",
    "ModelRegistry.release": "covalue model propose",
    "ModelRegistry.revoke": "covalue model revoke",
    "ModelRegistry.unsuspend": "covalue model unsuspend",
}
"""Calls that are proposed by a command of their own, which checks more and says more."""


class Verdict(StrEnum):
    """How a challenge ends."""

    UPHOLD = "uphold"
    REJECT = "reject"


@guard
def resolve(
    task: Annotated[int, typer.Argument(metavar="TASK", help="The challenged task's number.")],
    verdict: Annotated[Verdict, typer.Argument(help="uphold or reject.")],
    reason: ReasonOption = "",
    config: ConfigOption = None,
    dry_run: DryRunOption = False,
    as_json: JsonOption = False,
) -> None:
    """Propose how a challenge ends. Until a vote has decided, its task stands still.

    Upheld, the task is aborted and half of the coordinator's bond goes to the challenger;
    rejected, the challenger's bond goes to the roster and the task goes on. Look at the evidence
    first: covalue coordinator status names it. What no vote decides in time can be aborted.
    """
    settings, dao = open_contracts(config)
    require_task(dao, task)
    upheld = verdict is Verdict.UPHOLD
    call = motions.propose_verdict(dao, task, upheld=upheld, reason=reason)
    send_proposal(dao, call, open_account(settings), dry_run=dry_run, as_json=as_json)


@guard
def slash(
    account: Annotated[str, typer.Argument(help="The contributor's account.")],
    amount: Annotated[str, typer.Argument(metavar="COVAL", help="How much of its stake to burn.")],
    evidence: EvidenceArgument,
    reason: ReasonOption = "",
    config: ConfigOption = None,
    dry_run: DryRunOption = False,
    as_json: JsonOption = False,
) -> None:
    """Propose to burn a contributor's stake, on published evidence. Locked stake counts too."""
    settings, dao = open_contracts(config)
    data, key = read_evidence(evidence), open_account(settings)
    reference = blob_ref(data)
    call = motions.propose_slash(
        dao,
        require_account(account),
        wei_of(amount, "COVAL"),
        evidence=reference,
        reason=reason,
    )
    publish_with(settings, dao, data, (call,), key, dry_run=dry_run)
    named = {"evidence_cid": reference.cid}
    send_proposal(dao, call, key, dry_run=dry_run, as_json=as_json, result=named)


@guard
def propose(
    function: Annotated[
        str,
        typer.Argument(
            metavar="CONTRACT.FUNCTION",
            help="Such as CovalueGovernor.updateQuorumNumerator; the currency of revenue is "
            "called asset. A wrong function is answered with the list of those that there are.",
        ),
    ],
    arguments: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[ARGUMENT]...",
            help="Amounts in wei, times in seconds, accounts as 0x and 40 hex digits.",
            show_default=False,
        ),
    ] = None,
    title: Annotated[str, typer.Option(help="The proposal's first line.")] = "",
    reason: ReasonOption = "",
    config: ConfigOption = None,
    dry_run: DryRunOption = False,
    as_json: JsonOption = False,
) -> None:
    """Propose any change of the DAO that only the vote can make.

    Its rules (vote, quorum, delays), the guardian, the treasury and what it holds. Says what the
    call would do; --dry-run says it without proposing. What has a command of its own (a task, a
    release, a challenge, a stake) is proposed by that one.
    """
    settings, dao = open_contracts(config)
    if function in _OWN_COMMANDS:
        raise InputError(
            f"{function} has a command of its own", hint=f"see {_OWN_COMMANDS[function]} --help"
        )
    words = arguments or []
    call = motions.propose_call(
        dao, function, words, title=title or " ".join((function, *words)), reason=reason
    )
    send_proposal(dao, call, open_account(settings), dry_run=dry_run, as_json=as_json)


def judged_challenges(dao: Contracts, actions: Iterable[Action]) -> list[dict[str, object]]:
    """For each challenge that a proposal would decide: who made it, and where its evidence lies."""
    found: list[dict[str, object]] = []
    for action in actions:
        if (action.contract, action.function) != ("TaskLedger", "resolve"):
            continue
        task_id = int(next(item.raw for item in action.arguments if item.name == "taskId"))
        challenge = dao.ledger.challenge_of(task_id, from_block=dao.deployment.block)
        if challenge is None:
            found.append({"task": task_id, "says": f"Task {task_id} has no open challenge."})
            continue
        says = (
            f"Task {task_id} was challenged by {challenge.challenger} at "
            f"{show_time(challenge.opened_at)}; the evidence is {challenge.evidence_cid}."
        )
        found.append({"task": task_id, **asdict(challenge), "says": says})
    return found
