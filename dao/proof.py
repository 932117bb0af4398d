# SPDX-License-Identifier: Apache-2.0
"""Proof from the chain alone that a deployment is what it claims: its code, its links, and that
nobody but the vote has power over it."""

from __future__ import annotations

from dataclasses import dataclass

from dao.artefacts import CONTRACT_NAMES, load_artefact
from dao.contracts.binding import ZERO_ADDRESS, Linked, Owned
from dao.contracts.timelock import ROLES
from dao.deployment import Contracts
from dao.errors import ChainError


@dataclass(frozen=True)
class Check:
    """One thing that was read back: what it is, what it must be, what the chain says."""

    what: str
    expected: str
    found: str

    @property
    def ok(self) -> bool:
        return self.expected == self.found


def check_deployment(dao: Contracts) -> tuple[Check, ...]:
    """Everything that must hold, read from the chain now."""
    return (
        *_code_checks(dao),
        *_role_checks(dao),
        *_link_checks(dao),
        _cooldown_check(dao),
    )


def prove_roles(dao: Contracts) -> tuple[Check, ...]:
    """The checks, all passed; ChainError naming those that fail."""
    checks = check_deployment(dao)
    failed = [check for check in checks if not check.ok]
    if failed:
        said = "; ".join(f"{c.what}: {c.found}, expected {c.expected}" for c in failed)
        raise ChainError(
            f"{len(failed)} of {len(checks)} checks of the deployment fail: {said}",
            hint="Do not use this deployment: somebody has power over it that the vote has not "
            "given, or it is not the code of this package.",
        )
    return checks


def _code_checks(dao: Contracts) -> list[Check]:
    """Code, creator and block of each creation. Role events are read from the deployment's block
    on: a block that is too late would hide a role that was given before."""
    checks, senders, blocks = [], set(), []
    for name in CONTRACT_NAMES:
        placed = dao.deployment.contracts[name]
        sent = dao.chain.request("eth_getTransactionByHash", placed.transaction)
        receipt = dao.chain.request("eth_getTransactionReceipt", placed.transaction)
        found = "its creation is not on this chain"
        if sent is not None and receipt is not None:
            code = bytes.fromhex(sent["input"][2:])
            ours = code.startswith(load_artefact(name).bytecode)
            created = (receipt.get("contractAddress") or "").lower() == placed.address
            found = "yes" if ours and created else "no, other code was deployed there"
            senders.add(sent["from"].lower())
            blocks.append(int(receipt["blockNumber"], 16))
        checks.append(Check(f"{name} was created from this package's bytecode", "yes", found))
    checks.append(
        Check("who created the contracts", dao.deployment.deployer, _names(frozenset(senders)))
    )
    early = bool(blocks) and dao.deployment.block <= min(blocks)
    found = "yes" if early else f"no, it is {dao.deployment.block}"
    checks.append(Check("the deployment's block is before every creation", "yes", found))
    return checks


def _role_checks(dao: Contracts) -> list[Check]:
    timelock, governor = dao.timelock.address, dao.governor.address
    expected = {
        "admin": frozenset({timelock}),
        "proposer": frozenset({governor}),
        "executor": frozenset({governor}),
        "canceller": frozenset({governor}),
    }
    holders = dao.timelock.role_holders(from_block=dao.deployment.block)
    checks = []
    for role in (*ROLES, *sorted(holders.keys() - ROLES.keys())):
        wanted = expected.get(role, frozenset())
        checks.append(
            Check(f"who holds the timelock's {role} role", _names(wanted), _names(holders[role]))
        )
    for role in ROLES:
        held = dao.timelock.has_role(role, dao.deployment.deployer)
        checks.append(Check(f"the deployer holds the {role} role", "no", "yes" if held else "no"))
        open_to_all = dao.timelock.has_role(role, ZERO_ADDRESS)
        checks.append(
            Check(f"everybody holds the {role} role", "no", "yes" if open_to_all else "no")
        )
    for binding in dao.all():
        if isinstance(binding, Owned):
            checks.append(Check(f"owner of {binding.artefact_name}", timelock, binding.owner()))
    for binding in dao.all():
        if isinstance(binding, Linked):
            what = f"who may still set the link of {binding.artefact_name}"
            checks.append(Check(what, ZERO_ADDRESS, binding.deployer()))
    return checks


def _link_checks(dao: Contracts) -> list[Check]:
    ledger = dao.ledger.address
    return [
        Check("minter of CovalueToken", ledger, dao.token.minter()),
        Check("task ledger of ContributorRegistry", ledger, dao.registry.task_ledger()),
        Check("task ledger of RewardDistributor", ledger, dao.distributor.task_ledger()),
        Check("task ledger of ModelRegistry", ledger, dao.models.task_ledger()),
        Check("task ledger of RevenueShare", ledger, dao.revenue.task_ledger()),
        Check("model registry of RevenueShare", dao.models.address, dao.revenue.model_registry()),
        Check("revenue share of ModelRegistry", dao.revenue.address, dao.models.revenue_share()),
        Check("asset of RevenueShare", dao.deployment.revenue_asset, dao.revenue.asset()),
        Check("registry of TaskLedger", dao.registry.address, dao.ledger.registry()),
        Check("distributor of TaskLedger", dao.distributor.address, dao.ledger.distributor()),
        Check("token of TaskLedger", dao.token.address, dao.ledger.token()),
        Check("token of ContributorRegistry", dao.token.address, dao.registry.token()),
        Check("token of RewardDistributor", dao.token.address, dao.distributor.token()),
        Check("token of CovalueGovernor", dao.token.address, dao.governor.token()),
        Check("timelock of CovalueGovernor", dao.timelock.address, dao.governor.timelock()),
    ]


def _cooldown_check(dao: Contracts) -> Check:
    """A contributor's stake must stay until a challenge of its last task was decided."""
    needed = dao.deployment.challenge_window_seconds + dao.governance_seconds()
    cooldown = dao.registry.exit_cooldown_seconds()
    enough = "yes" if cooldown >= needed else f"no, {cooldown} s"
    what = f"the exit cooldown covers challenge window, vote and timelock ({needed} s)"
    return Check(what, "yes", enough)


def _names(accounts: frozenset[str]) -> str:
    return ", ".join(sorted(accounts)) or "nobody"
