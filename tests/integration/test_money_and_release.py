# SPDX-License-Identifier: Apache-2.0
"""What follows a task: payouts, stakes, releases, revenue."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from chain_world import (
    BOND,
    BUDGET,
    CONTRIBUTORS,
    COORDINATOR,
    COVAL,
    FOUNDERS,
    GUARDIAN,
    HOLDER_A,
    PART_BOND,
    PART_SALTS,
    STAKE,
    STRANGER,
    Job,
    address,
    pass_vote,
    run_vote,
)
from settled_task import (
    PAYOUTS,
    finalised,
    leaves,
    refused,
    report,
    share_leaves,
)

from dao.chain import Call
from dao.contracts.model_registry import ReleaseStatus
from dao.contracts.task_types import TaskState
from dao.contracts.token import DevStablecoin
from dao.governance import propose_release
from rewards.merkle import proof


def test_from_vote_to_claims(job: Job) -> None:
    """Every state once, and where each coin went."""
    dao, supply = job.dao, job.dao.token.total_supply()
    job.open()
    assert dao.token.total_supply() == supply + BUDGET
    assert dao.token.minted_this_year_wei() == BUDGET
    for index in CONTRIBUTORS:
        job.register(index)
        job.send(index, dao.ledger.join(job.task_id))
    assert dao.ledger.roster_of(job.task_id) == tuple(address(i) for i in CONTRIBUTORS)
    assert dao.registry.contributor_of(address(10)).locked_stake_wei == STAKE
    job.post_bonds()
    job.send(COORDINATOR, dao.ledger.start(job.task_id))
    assert dao.ledger.task_of(job.task_id).state is TaskState.RUNNING
    job.train()
    task = dao.ledger.task_of(job.task_id)
    assert (task.state, task.last_round, task.checkpoint_count) == (TaskState.REVEALING, 5, 3)
    assert task.model_digest == job.checkpoint(2, 5, 5).model_digest
    job.open_parts()
    assert [part.salt for part in dao.ledger.opened_parts(job.task_id, from_block=0)] == [
        *PART_SALTS
    ]
    job.close(report(job))
    assert dao.ledger.final_of(job.task_id) == report(job)
    job.devnet.advance_to(dao.ledger.task_of(job.task_id).challenge_deadline + 1)
    job.send(STRANGER, dao.ledger.finalise(job.task_id))
    assert dao.ledger.task_of(job.task_id).state is TaskState.FINALISED

    paid = sum(PAYOUTS) * COVAL
    assert dao.token.total_supply() == supply + paid  # the rest was burned
    assert dao.distributor.funded_of(job.task_id) == (paid, 0)
    assert dao.token.balance_of(address(COORDINATOR)) == BOND
    assert dao.token.balance_of(address(HOLDER_A)) == PART_BOND
    assert dao.token.balance_of(dao.ledger.address) == 0
    for place, leaf in enumerate(leaves(job)):
        before = dao.token.balance_of(leaf.account)
        way = proof(leaves(job), place)
        call = dao.distributor.claim(job.task_id, leaf.account, leaf.amount, place=place, proof=way)
        job.send(STRANGER, call)
        assert dao.token.balance_of(leaf.account) == before + leaf.amount
    assert dao.distributor.funded_of(job.task_id) == (paid, paid)
    assert dao.registry.contributor_of(address(10)).locked_stake_wei == 0


@pytest.mark.promise(8)
def test_promise_8_claims_are_paid_once_and_proved(job: Job) -> None:
    """Twice, with a false proof, for more than the share."""
    finalised(job)
    mine, way = leaves(job)[0], proof(leaves(job), 0)

    def claim(
        task_id: int, account: str, amount: int, way: Sequence[str], *, place: int = 0
    ) -> Call:
        return job.dao.distributor.claim(task_id, account, amount, place=place, proof=way)

    more = claim(job.task_id, mine.account, mine.amount + 1, way)
    assert refused(job, CONTRIBUTORS[0], more) == "InvalidProof"
    other = claim(job.task_id, address(STRANGER), mine.amount, way)
    assert refused(job, STRANGER, other) == "InvalidProof"
    false = claim(job.task_id, mine.account, mine.amount, proof(leaves(job), 1))
    assert refused(job, CONTRIBUTORS[0], false) == "InvalidProof"
    elsewhere = claim(job.task_id, mine.account, mine.amount, way, place=1)
    assert refused(job, CONTRIBUTORS[0], elsewhere) == "InvalidProof"
    unfunded = claim(job.task_id + 1, mine.account, mine.amount, way)
    assert refused(job, CONTRIBUTORS[0], unfunded) == "NotFunded"
    good = claim(job.task_id, mine.account, mine.amount, way)
    job.send(CONTRIBUTORS[0], good)
    assert refused(job, CONTRIBUTORS[0], good) == "AlreadyClaimed"
    assert job.dao.distributor.is_claimed(job.task_id, place=0)
    assert not job.dao.distributor.is_claimed(job.task_id, place=1)
    assert job.dao.token.balance_of(mine.account) == mine.amount


def test_stakes_leave_only_after_the_cooldown(job: Job) -> None:
    finalised(job)
    registry = job.dao.registry
    assert refused(job, 10, registry.withdraw()) == "ExitNotRequested"
    job.send(10, registry.request_exit())
    assert refused(job, 10, registry.withdraw()) == "CooldownRunning"
    job.devnet.advance_to(registry.withdrawable_at(address(10)) + 1)
    before = job.dao.token.balance_of(address(10))
    job.send(10, registry.withdraw())
    assert job.dao.token.balance_of(address(10)) == before + 2 * STAKE


@pytest.mark.promise(9)
def test_promise_9_a_release_needs_vote_timelock_and_final_task(job: Job) -> None:
    dao, models = job.dao, job.dao.models
    finalised(job)
    for index in (*FOUNDERS, GUARDIAN, COORDINATOR):
        call = models.release(job.task_id, release_number=1)
        assert refused(job, index, call) == "OwnableUnauthorizedAccount"
    run_vote(job.devnet, dao, propose_release(dao, job.task_id))
    current = models.current()
    assert (current.number, current.task_id, current.status) == (
        1,
        job.task_id,
        ReleaseStatus.RELEASED,
    )
    assert current.model_digest == dao.ledger.task_of(job.task_id).model_digest
    assert current.share_root == report(job).share_root
    assert current.epsilon_micro == 8_000_000
    job.send(GUARDIAN, models.suspend(1))
    assert models.current().status is ReleaseStatus.SUSPENDED
    assert refused(job, GUARDIAN, models.unsuspend(1)) == "OwnableUnauthorizedAccount"
    pass_vote(job.devnet, dao, [models.unsuspend(1)])
    assert models.current().status is ReleaseStatus.RELEASED
    pass_vote(job.devnet, dao, [models.revoke(1)])
    assert models.current().status is ReleaseStatus.REVOKED
    assert refused(job, GUARDIAN, models.suspend(1)) == "UnexpectedStatus"


def test_revenue_is_split_by_the_shares(job: Job) -> None:
    dao, asset = job.dao, job.dao.asset
    assert isinstance(asset, DevStablecoin)
    finalised(job)
    run_vote(job.devnet, dao, propose_release(dao, job.task_id))
    job.send(STRANGER, asset.mint(address(STRANGER), 2_000_000))
    job.send(STRANGER, asset.approve(dao.revenue.address, 1_000_000))
    job.send(STRANGER, dao.revenue.pay(1, 1_000_000))
    job.send(STRANGER, asset.transfer(dao.revenue.address, 1_000_000))  # counts as a payment
    mine = share_leaves(job)[0]
    call = dao.revenue.claim(
        1,
        mine.account,
        task_id=job.task_id,
        share_wad=mine.amount,
        proof=proof(share_leaves(job), 0),
    )
    job.send(STRANGER, call)
    assert asset.balance_of(mine.account) == 1_700_000 // 2  # 85 % are the contributors', half his
    assert refused(job, STRANGER, call) == "NothingToClaim"
    assert dao.revenue.pool_of(1) == (1_700_000, 850_000)
    job.send(STRANGER, dao.revenue.withdraw_coordinator(1))
    assert asset.balance_of(address(COORDINATOR)) == 200_000
    job.send(STRANGER, dao.revenue.withdraw_treasury())
    assert asset.balance_of(dao.timelock.address) == 100_000
