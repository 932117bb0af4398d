# SPDX-License-Identifier: Apache-2.0
"""Sending a proposal: what every command that proposes says of it afterwards."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

import typer

from cli.session import transact
from dao.chain import Call, Outcome
from dao.deployment import Contracts
from dao.keystore import AccountKey
from dao.motions import proposal_made, proposed_actions

ReasonOption = Annotated[
    str, typer.Option("--reason", help="Why; published with the proposal, for those who vote.")
]


def send_proposal(
    dao: Contracts,
    call: Call,
    key: AccountKey,
    *,
    dry_run: bool,
    as_json: bool,
    result: Mapping[str, object] | None = None,
) -> None:
    """Send the call that proposes (or only try it); tell what it would do, the proposal's number
    and what is next."""

    def told(outcome: Outcome) -> Mapping[str, object]:
        number = proposal_made(dao, outcome).number
        return {"proposal": number, "next": f"covalue member show {number}"}

    does = [line for action in proposed_actions(dao, call) for line in action.lines()]
    transact(
        dao,
        call,
        key,
        dry_run=dry_run,
        as_json=as_json,
        result={"does": does, **(result or {})},
        told_of_sent=told,
    )
