# SPDX-License-Identifier: Apache-2.0
"""`covalue dao`: deploy the contracts; show and prove what is deployed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Column, Table

from cli.output import DryRunOption, JsonOption, console, emit, guard
from cli.session import ConfigOption, open_account, open_contracts
from dao.artefacts import CONTRACT_NAMES
from dao.calldata import show_coval, show_duration
from dao.chain import Chain
from dao.deploy import deploy as deploy_all
from dao.deploy import rehearse
from dao.deploy_file import EXAMPLE, read_deploy_file
from dao.deployment import Contracts
from dao.errors import ChainError, InputError
from dao.proof import Check, check_deployment
from dao.settings import load_settings

app = typer.Typer(
    no_args_is_help=True,
    help="The contracts of a DAO: deploy them, or show and prove what is deployed.",
)


@app.command()
@guard
def deploy(
    file: Annotated[
        Path | None,
        typer.Argument(help="Deploy file (TOML): founders, voting, stakes, revenue."),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            help="Where to write the addresses; default chain.deployment of the settings."
        ),
    ] = None,
    example: Annotated[
        bool, typer.Option("--example", help="Print a complete deploy file and stop.")
    ] = False,
    config: ConfigOption = None,
    dry_run: DryRunOption = False,
    as_json: JsonOption = False,
) -> None:
    """Deploy all contracts, hand every right to the vote, and prove it from the chain.

    The account of the settings pays and keeps no power. The addresses go to deployment.json, which
    every member and contributor needs.
    """
    if example:
        emit(
            {"file": EXAMPLE},
            as_json=as_json,
            text=lambda to: to.print(EXAMPLE, markup=False, soft_wrap=True, end=""),
        )
        return
    if file is None:
        raise InputError(
            "name a deploy file",
            hint='"covalue dao deploy --example > deploy.toml" makes one to start from.',
        )
    plan, settings = read_deploy_file(file), load_settings(config)
    target = out or settings.chain.deployment
    if target.exists():
        raise InputError(
            f"{target} exists already and is not overwritten",
            hint="Name another file with --out, or move the old one away.",
        )
    chain = Chain(settings.chain.rpc_url).connect()
    key = open_account(settings)
    if dry_run:
        steps = rehearse(chain, key.signer, plan)
        gas = sum(step.gas for step in steps)
        emit(
            {
                "sent": False,
                "chain_id": chain.chain_id,
                "from": key.address,
                "gas_at_least": gas,
                "steps": [step.description for step in steps],
            },
            as_json=as_json,
            text=lambda to: to.print(
                "\n".join(f"would {step.description}" for step in steps)
                + f"\nfrom {key.address}; the creations take at least {gas} gas; nothing was sent",
                markup=False,
                soft_wrap=True,
            ),
        )
        return
    done = deploy_all(
        chain, key.signer, plan, progress=lambda line: console.print(line, markup=False)
    )
    done.dao.deployment.write(target)
    result = _document(done.dao, done.checks)
    emit(
        {**result, "file": target, "gas": done.gas},
        as_json=as_json,
        text=lambda to: _tell(to, done.dao, done.checks, verbose=False),
    )


@app.command()
@guard
def show(
    verbose: Annotated[
        bool, typer.Option("--verbose", "-v", help="List every check, not only those that fail.")
    ] = False,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show the contracts, and prove again that nobody but the vote has power over them.

    Exit code 2 if a check fails.
    """
    _, dao = open_contracts(config)
    checks = check_deployment(dao)
    emit(
        _document(dao, checks),
        as_json=as_json,
        text=lambda to: _tell(to, dao, checks, verbose=verbose),
    )
    failed = [check for check in checks if not check.ok]
    if failed and not as_json:
        raise ChainError(
            f"{len(failed)} of {len(checks)} checks fail",
            hint="Do not use this deployment.",
        )
    if failed:
        raise typer.Exit(2)


def _parameters(dao: Contracts) -> dict[str, object]:
    return {
        "supply_wei": str(dao.token.total_supply()),
        "yearly_cap_wei": str(dao.token.yearly_cap_wei()),
        "minted_this_year_wei": str(dao.token.minted_this_year_wei()),
        "voting_delay_seconds": dao.governor.voting_delay_seconds(),
        "voting_period_seconds": dao.governor.voting_period_seconds(),
        "late_quorum_extension_seconds": dao.governor.late_quorum_extension_seconds(),
        "timelock_delay_seconds": dao.timelock.min_delay_seconds(),
        "quorum_percent": dao.governor.quorum_percent(),
        "proposal_threshold_wei": str(dao.governor.proposal_threshold_wei()),
        "min_stake_wei": str(dao.registry.min_stake_wei()),
        "exit_cooldown_seconds": dao.registry.exit_cooldown_seconds(),
        "challenge_timeout_seconds": dao.ledger.challenge_timeout_seconds(),
        "guardian": dao.models.guardian(),
        "revenue_asset": dao.revenue.asset(),
        "treasury": dao.revenue.treasury(),
        "treasury_bps": dao.revenue.treasury_bps(),
        "coordinator_bps": dao.revenue.coordinator_bps(),
        "tasks": dao.ledger.task_count(),
        "releases": dao.models.release_count(),
    }


def _document(dao: Contracts, checks: Sequence[Check]) -> dict[str, object]:
    return {
        "chain_id": dao.chain.chain_id,
        "chain_time": dao.chain.now(),
        "block": dao.deployment.block,
        "deployer": dao.deployment.deployer,
        "contracts": {name: dao.deployment.address_of(name) for name in CONTRACT_NAMES},
        "parameters": _parameters(dao),
        "proved": all(check.ok for check in checks),
        "checks": [
            {"what": c.what, "expected": c.expected, "found": c.found, "ok": c.ok} for c in checks
        ],
    }


def _tell(to: Console, dao: Contracts, checks: Sequence[Check], *, verbose: bool) -> None:
    contracts = Table("contract", "address", title=f"DAO on chain {dao.chain.chain_id}")
    for name in CONTRACT_NAMES:
        contracts.add_row(name, dao.deployment.address_of(name))
    to.print(contracts)
    numbers = Table("parameter", "value")
    for name, value in _parameters(dao).items():
        numbers.add_row(*_shown(name, value))
    to.print(numbers)
    listed = [check for check in checks if verbose or not check.ok]
    if listed:
        table = Table("check", Column("found", overflow="fold"), "ok")
        for check in listed:
            mark = "yes" if check.ok else f"[bold red]NO[/], expected {check.expected}"
            table.add_row(check.what, check.found, mark)
        to.print(table)
    passed = sum(check.ok for check in checks)
    to.print(f"{passed} of {len(checks)} checks passed: code, links, owners and roles")


def _shown(name: str, value: object) -> tuple[str, str]:
    """A parameter's name and value with the unit a person reads."""
    if name.endswith("_wei"):
        return name.removesuffix("_wei").replace("_", " "), show_coval(int(str(value)))
    if name.endswith("_seconds"):
        return name.removesuffix("_seconds").replace("_", " "), show_duration(int(str(value)))
    if name.endswith("_bps"):
        return name.removesuffix("_bps") + " part", f"{int(str(value)) / 100:g} %"
    return name.replace("_", " "), str(value)
