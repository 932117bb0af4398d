# SPDX-License-Identifier: Apache-2.0
"""Taking a released model back: the guardian suspends it at once, the vote revokes it for good."""

from __future__ import annotations

from typing import Annotated

import typer

from cli.output import DryRunOption, JsonOption, guard
from cli.proposing import ReasonOption, send_proposal
from cli.session import ConfigOption, open_account, open_contracts, transact
from dao import motions
from dao.errors import ChainError

ReleaseArgument = Annotated[
    int, typer.Argument(metavar="RELEASE", help="Its number in covalue model list.")
]


@guard
def suspend(
    release: ReleaseArgument,
    config: ConfigOption = None,
    dry_run: DryRunOption = False,
    as_json: JsonOption = False,
) -> None:
    """As the guardian, stop a release from being served, at once. A vote can bring it back."""
    settings, dao = open_contracts(config)
    key, guardian = open_account(settings), dao.models.guardian()
    if key.address != guardian:
        raise ChainError(
            f"{key.address} is not the guardian ({guardian}), who alone suspends without a vote",
            hint="covalue model revoke proposes to the members to take it back for good; "
            f"covalue member propose ModelRegistry.suspend {release} for a while",
        )
    call = dao.models.suspend(release)
    transact(dao, call, key, dry_run=dry_run, as_json=as_json)


@guard
def unsuspend(
    release: ReleaseArgument,
    reason: ReasonOption = "",
    config: ConfigOption = None,
    dry_run: DryRunOption = False,
    as_json: JsonOption = False,
) -> None:
    """Propose to the members to end the suspension of a release."""
    settings, dao = open_contracts(config)
    call = motions.propose_return(dao, release, reason=reason)
    send_proposal(dao, call, open_account(settings), dry_run=dry_run, as_json=as_json)


@guard
def revoke(
    release: ReleaseArgument,
    reason: ReasonOption = "",
    config: ConfigOption = None,
    dry_run: DryRunOption = False,
    as_json: JsonOption = False,
) -> None:
    """Propose to the members to revoke a release, for good: it is served and paid no more."""
    settings, dao = open_contracts(config)
    call = motions.propose_revocation(dao, release, reason=reason)
    send_proposal(dao, call, open_account(settings), dry_run=dry_run, as_json=as_json)
