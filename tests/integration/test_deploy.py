# SPDX-License-Identifier: Apache-2.0
"""Deploying, and the proof that nobody but the vote has power."""

from __future__ import annotations

from pathlib import Path

import pytest
from chain_world import (
    COVAL,
    DEPLOY_FILE,
    DEPLOYER,
    FOUNDERS,
    GUARDIAN,
    STRANGER,
    address,
    pass_vote,
    send,
)

from dao.chain import Call
from dao.contracts.binding import Owned
from dao.contracts.timelock import ROLES
from dao.deploy import deploy
from dao.deploy_file import EXAMPLE, DeployFile, parse_deploy_file
from dao.deployment import Contracts, Deployment, open_dao
from dao.errors import ChainError, InputError
from dao.proof import check_deployment, prove_roles
from dao.reverts import Reverted
from demo.devnet import Devnet


def test_founders_hold_the_genesis_supply(dao: Contracts) -> None:
    assert [dao.token.balance_of(address(index)) for index in FOUNDERS] == [
        500_000 * COVAL,
        300_000 * COVAL,
        200_000 * COVAL,
    ]
    assert dao.token.total_supply() == 1_000_000 * COVAL
    assert dao.token.symbol() == "COVAL"


def test_everything_belongs_to_the_timelock(dao: Contracts) -> None:
    for binding in dao.all():
        if isinstance(binding, Owned):
            assert binding.owner() == dao.timelock.address
    for role in ROLES:
        assert not dao.timelock.has_role(role, address(DEPLOYER))
    assert all(check.ok for check in prove_roles(dao))


def test_deployer_can_do_nothing_any_more(dao: Contracts) -> None:
    attempts: list[Call] = [
        dao.token.set_minter(address(DEPLOYER)),
        dao.registry.set_task_ledger(address(DEPLOYER)),
        dao.distributor.set_task_ledger(address(DEPLOYER)),
        dao.models.set_revenue_share(address(DEPLOYER)),
        dao.models.set_guardian(address(DEPLOYER)),
        dao.models.release(1, release_number=1),
        dao.timelock.grant_role("proposer", address(DEPLOYER)),
        dao.ledger.resolve(1, upheld=True),
        dao.registry.slash(address(0), 1, evidence_digest="00" * 32, evidence_cid="b"),
    ]
    for call in attempts:
        with pytest.raises(Reverted):
            dao.chain.simulate(call, sender=address(DEPLOYER))


def test_a_role_given_away_fails_the_proof(devnet: Devnet, dao: Contracts) -> None:
    """The vote itself may do it; whoever reads the chain back is told."""
    call = dao.timelock.grant_role("canceller", address(STRANGER))
    pass_vote(devnet, dao, [call])
    failed = [check for check in check_deployment(dao) if not check.ok]
    assert [check.what for check in failed] == ["who holds the timelock's canceller role"]
    assert address(STRANGER) in failed[0].found
    with pytest.raises(ChainError, match="canceller"):
        prove_roles(dao)


def test_contracts_of_other_bytecode_fail_the_proof(dao: Contracts) -> None:
    placed = dict(dao.deployment.contracts)
    swapped = placed["ModelRegistry"].model_copy(
        update={"transaction": placed["TaskLedger"].transaction}
    )
    forged = dao.deployment.model_copy(update={"contracts": {**placed, "ModelRegistry": swapped}})
    with pytest.raises(ChainError, match="ModelRegistry was created"):
        prove_roles(Contracts.open(dao.chain, forged))


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"block": 10**6}, "block is before every creation"),
        ({"deployer": address(STRANGER)}, "who created the contracts"),
    ],
)
def test_a_file_that_hides_earlier_events_fails_the_proof(
    dao: Contracts, change: dict[str, object], says: str
) -> None:
    """Roles are read from events since a block that the file names, for a deployer it names."""
    forged = dao.deployment.model_copy(update=change)
    with pytest.raises(ChainError, match=says):
        prove_roles(Contracts.open(dao.chain, forged))


def test_deployment_file_round_trip(dao: Contracts, tmp_path: Path) -> None:
    path = tmp_path / "deployment.json"
    dao.deployment.write(path)
    assert Deployment.read(path) == dao.deployment
    again = open_dao(dao.chain.rpc_url, path)
    assert again.models.guardian() == address(GUARDIAN)


def test_another_chain_is_refused(dao: Contracts, tmp_path: Path) -> None:
    path = tmp_path / "deployment.json"
    dao.deployment.model_copy(update={"chain_id": 1}).write(path)
    with pytest.raises(ChainError, match="chain 31337, expected chain 1"):
        open_dao(dao.chain.rpc_url, path)


def test_example_file_deploys(devnet: Devnet, dao: Contracts) -> None:
    """What `covalue dao deploy --example` prints works as it stands."""
    plan = parse_deploy_file(EXAMPLE, name="example")
    assert deploy(devnet.chain, devnet.account(DEPLOYER), plan).dao.token.address


def test_asset_without_code_is_refused(devnet: Devnet, dao: Contracts, plan: DeployFile) -> None:
    text = DEPLOY_FILE.replace("dev-stablecoin", address(STRANGER))
    with pytest.raises(InputError, match="no contract at"):
        deploy(devnet.chain, devnet.account(DEPLOYER), parse_deploy_file(text, name="x"))


def test_guardian_may_only_suspend(dao: Contracts) -> None:
    with pytest.raises(Reverted) as refused:
        dao.chain.simulate(dao.models.suspend(1), sender=address(GUARDIAN))
    assert refused.value.name == "UnexpectedStatus"  # allowed to try, but there is no release
    with pytest.raises(Reverted) as refused:
        dao.chain.simulate(dao.models.revoke(1), sender=address(GUARDIAN))
    assert refused.value.name == "OwnableUnauthorizedAccount"
    with pytest.raises(Reverted) as refused:
        send(dao, STRANGER, dao.models.suspend(1))
    assert refused.value.name == "NotGuardianNorOwner"
