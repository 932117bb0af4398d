# SPDX-License-Identifier: Apache-2.0
"""Deploying the DAO: every admin role goes to the timelock, and the deployer keeps nothing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from eth_typing import HexAddress, HexStr
from web3.types import Nonce
from web3.utils.address import get_create_address

from dao.artefacts import load_artefact
from dao.chain import Call, Chain, Signer
from dao.contracts.binding import ZERO_ADDRESS
from dao.deploy_file import DEV_STABLECOIN, DeployFile
from dao.deployment import Contracts, Deployment, Placed
from dao.errors import ChainError, InputError
from dao.proof import Check, prove_roles

DEV_CHAIN_IDS = (31337, 31999)
"""Chains on which DevStablecoin can be deployed; the contract refuses all others."""

_ASKS_OTHERS = frozenset({"CovalueGovernor"})
"""Contracts whose constructors call one that is not there before the deployment."""

Progress = Callable[[str], None]


@dataclass(frozen=True)
class Deployed:
    """The opened contracts, and what was proved of them."""

    dao: Contracts
    checks: tuple[Check, ...]
    gas: int


@dataclass(frozen=True)
class Step:
    """A transaction that a deployment would send. `gas` is 0 where it depends on the others."""

    description: str
    gas: int


class _Deployer:
    """Sends the transactions of one deployment and keeps what came of them."""

    def __init__(self, chain: Chain, key: Signer, progress: Progress) -> None:
        self.chain = chain
        self.key = key
        self._progress = progress
        self.address = str(key.address).lower()
        self.placed: dict[str, Placed] = {}
        self.gas = 0

    def create(self, name: str, **arguments: Any) -> str:
        artefact = load_artefact(name)
        self._progress(f"deploy {name}")
        call = Call(None, artefact.creation(**arguments), 0, f"deploy {name}")
        outcome = self.chain.send(call, self.key)
        self.gas += outcome.gas
        if outcome.created is None or outcome.transaction is None:
            raise ChainError(f"the chain gave no address for {name}")
        self.placed[name] = Placed(
            address=outcome.created,
            transaction=outcome.transaction,
            abi_sha256=artefact.abi_sha256,
        )
        return outcome.created

    def send(self, call: Call) -> None:
        self._progress(call.description)
        self.gas += self.chain.send(call, self.key).gas


class _Rehearsal(_Deployer):
    """Estimates the creations at the addresses that they would have."""

    def __init__(self, chain: Chain, key: Signer) -> None:
        super().__init__(chain, key, lambda line: None)
        self.steps: list[Step] = []
        self._nonce = int(chain.request("eth_getTransactionCount", self.address, "latest"), 16)

    def create(self, name: str, **arguments: Any) -> str:
        artefact = load_artefact(name)
        call = Call(None, artefact.creation(**arguments), 0, f"deploy {name}")
        gas = 0
        if name not in _ASKS_OTHERS:
            gas = self.chain.send(call, self.key, dry_run=True).gas
        self.steps.append(Step(call.description, gas))
        sender = HexAddress(HexStr(self.address))
        created = get_create_address(sender, Nonce(self._nonce)).lower()
        self._nonce += 1
        self.placed[name] = Placed(
            address=created, transaction="0x", abi_sha256=artefact.abi_sha256
        )
        return created


def rehearse(chain: Chain, key: Signer, plan: DeployFile) -> tuple[Step, ...]:
    """What `deploy` would send, in order. Sends nothing."""
    _check_asset(chain, plan)
    work = _Rehearsal(chain, key)
    _create(work, plan)
    return (
        *work.steps,
        Step("set the four links between the contracts", 0),
        Step("give the governor the timelock's proposer, canceller and executor roles", 0),
        Step("give up the deployer's own admin role", 0),
        Step("read everything back and prove it", 0),
    )


def deploy(
    chain: Chain, key: Signer, plan: DeployFile, *, progress: Progress = lambda line: None
) -> Deployed:
    """Deploy all contracts, hand every role to the timelock, give up the deployer's own, and
    prove both by reading the chain back.

    ChainError if anything read back differs; a deployment that failed half-way has no power over
    anything and is not continued.
    """
    chain.connect()
    _check_asset(chain, plan)
    work = _Deployer(chain, key, progress)
    first_block = chain.block().number
    _create(work, plan)
    deployment = Deployment(
        chain_id=chain.chain_id,
        block=first_block,
        deployer=work.address,
        challenge_window_seconds=plan.tasks.challenge_window_seconds,
        revenue_asset=_asset(work, plan),
        contracts=work.placed,
    )
    dao = Contracts.open(chain, deployment)
    _link(work, dao)
    checks = (*_parameter_checks(dao, plan), *prove_roles(dao))
    wrong = [check for check in checks if not check.ok]
    if wrong:
        first = wrong[0]
        raise ChainError(f"{first.what}: the chain says {first.found}, not {first.expected}")
    return Deployed(dao=dao, checks=checks, gas=work.gas)


def _check_asset(chain: Chain, plan: DeployFile) -> None:
    if plan.revenue.asset == DEV_STABLECOIN and chain.chain_id not in DEV_CHAIN_IDS:
        raise InputError(
            f'revenue.asset: "{DEV_STABLECOIN}" is worth nothing and only for devnets, and this '
            f"is chain {chain.chain_id}",
            hint="Name the address of a real ERC-20, such as USDC of that chain.",
        )
    if plan.revenue.asset != DEV_STABLECOIN and not chain.code(plan.revenue.asset):
        raise InputError(f"revenue.asset: there is no contract at {plan.revenue.asset}")


def _create(work: _Deployer, plan: DeployFile) -> None:
    vote = plan.governance
    token = work.create(
        "CovalueToken",
        founders=[founder.address for founder in plan.founders],
        amounts=[founder.amount_wei for founder in plan.founders],
        yearlyCap=plan.token.yearly_cap_wei,
        deployer=work.address,
    )
    timelock = work.create(
        "TimelockController",
        minDelay=vote.timelock_delay_seconds,
        proposers=[],
        executors=[],
        admin=work.address,
    )
    work.create(
        "CovalueGovernor",
        token=token,
        timelock=timelock,
        votingDelaySeconds=vote.voting_delay_seconds,
        votingPeriodSeconds=vote.voting_period_seconds,
        proposalThreshold=vote.proposal_threshold_wei,
        quorumPercent=vote.quorum_percent,
        lateQuorumExtension=vote.late_quorum_extension_seconds,
    )
    registry = work.create(
        "ContributorRegistry",
        token=token,
        owner=timelock,
        deployer=work.address,
        minStake=plan.contributors.min_stake_wei,
        exitCooldown=plan.contributors.exit_cooldown_seconds,
    )
    distributor = work.create("RewardDistributor", token=token, deployer=work.address)
    ledger = work.create(
        "TaskLedger",
        token=token,
        registry=registry,
        distributor=distributor,
        owner=timelock,
        challengeTimeout=plan.tasks.challenge_timeout_seconds,
    )
    models = work.create(
        "ModelRegistry",
        taskLedger=ledger,
        owner=timelock,
        guardian=plan.models.guardian or ZERO_ADDRESS,
        deployer=work.address,
    )
    if plan.revenue.asset == DEV_STABLECOIN:
        work.create("DevStablecoin")
    work.create(
        "RevenueShare",
        asset=_asset(work, plan),
        modelRegistry=models,
        taskLedger=ledger,
        treasury=_treasury(timelock, plan),
        treasuryBps=plan.revenue.treasury_bps,
        coordinatorBps=plan.revenue.coordinator_bps,
        owner=timelock,
    )


def _asset(work: _Deployer, plan: DeployFile) -> str:
    if plan.revenue.asset == DEV_STABLECOIN:
        return work.placed["DevStablecoin"].address
    return plan.revenue.asset


def _treasury(timelock: str, plan: DeployFile) -> str:
    return timelock if plan.revenue.treasury == "timelock" else plan.revenue.treasury


def _link(work: _Deployer, dao: Contracts) -> None:
    """The links that need both addresses, then the roles; the deployer's own goes last."""
    work.send(dao.token.set_minter(dao.ledger.address))
    work.send(dao.registry.set_task_ledger(dao.ledger.address))
    work.send(dao.distributor.set_task_ledger(dao.ledger.address))
    work.send(dao.models.set_revenue_share(dao.revenue.address))
    for role in ("proposer", "canceller", "executor"):
        work.send(dao.timelock.grant_role(role, dao.governor.address))
    work.send(dao.timelock.renounce_role("admin", work.address))


def _parameter_checks(dao: Contracts, plan: DeployFile) -> list[Check]:
    """What the file says against what the chain says."""
    vote = plan.governance
    numbers = [
        ("voting delay", vote.voting_delay_seconds, dao.governor.voting_delay_seconds()),
        ("voting period", vote.voting_period_seconds, dao.governor.voting_period_seconds()),
        ("quorum percent", vote.quorum_percent, dao.governor.quorum_percent()),
        ("proposal threshold", vote.proposal_threshold_wei, dao.governor.proposal_threshold_wei()),
        (
            "late quorum extension",
            vote.late_quorum_extension_seconds,
            dao.governor.late_quorum_extension_seconds(),
        ),
        ("timelock delay", vote.timelock_delay_seconds, dao.timelock.min_delay_seconds()),
        ("yearly cap", plan.token.yearly_cap_wei, dao.token.yearly_cap_wei()),
        (
            "genesis supply",
            sum(founder.amount_wei for founder in plan.founders),
            dao.token.total_supply(),
        ),
        ("least stake", plan.contributors.min_stake_wei, dao.registry.min_stake_wei()),
        (
            "exit cooldown",
            plan.contributors.exit_cooldown_seconds,
            dao.registry.exit_cooldown_seconds(),
        ),
        (
            "challenge timeout",
            plan.tasks.challenge_timeout_seconds,
            dao.ledger.challenge_timeout_seconds(),
        ),
        ("treasury part", plan.revenue.treasury_bps, dao.revenue.treasury_bps()),
        ("coordinator part", plan.revenue.coordinator_bps, dao.revenue.coordinator_bps()),
    ]
    checks = [Check(what, str(expected), str(found)) for what, expected, found in numbers]
    treasury = _treasury(dao.timelock.address, plan)
    checks.append(Check("treasury", treasury, dao.revenue.treasury()))
    guardian = plan.models.guardian or ZERO_ADDRESS
    checks.append(Check("guardian", guardian, dao.models.guardian()))
    return checks
