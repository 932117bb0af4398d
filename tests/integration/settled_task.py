# SPDX-License-Identifier: Apache-2.0
"""A task with its result: what each contributor gets, and the way to it."""

from __future__ import annotations

import hashlib

import pytest
from chain_world import (
    CONTRIBUTORS,
    COVAL,
    STRANGER,
    Job,
    address,
)

from dao.chain import Call
from dao.contracts.task_types import FinalReport
from dao.reverts import Reverted
from rewards.merkle import Leaf, tree_root

PAYOUTS = (400, 300, 200, 0)
"""COVAL for each contributor; the rest of the budget is burned."""
SHARES = (5, 3, 2, 0)
"""Tenths of the contributors' revenue."""


def leaves(job: Job) -> list[Leaf]:
    return [
        Leaf(job.task_id, address(index), amount * COVAL, place)
        for place, (index, amount) in enumerate(zip(CONTRIBUTORS, PAYOUTS, strict=True))
        if amount
    ]


def share_leaves(job: Job) -> list[Leaf]:
    return [
        Leaf(job.task_id, address(index), tenths * 10**17)
        for index, tenths in zip(CONTRIBUTORS, SHARES, strict=True)
        if tenths
    ]


def report(job: Job) -> FinalReport:
    return FinalReport(
        score_digest=hashlib.sha256(b"scores").hexdigest(),
        score_cid="bafkreiscores",
        payout_root=tree_root(leaves(job)),
        payout_total_wei=sum(PAYOUTS) * COVAL,
        share_root=tree_root(share_leaves(job)),
        epsilon_micro=8_000_000,
    )


def closed(job: Job) -> Job:
    """A task of which the result is committed; the challenge window runs."""
    job.start()
    job.train()
    job.open_parts()
    job.close(report(job))
    return job


def finalised(job: Job) -> Job:
    closed(job)
    job.devnet.advance_to(job.dao.ledger.task_of(job.task_id).challenge_deadline + 1)
    job.send(STRANGER, job.dao.ledger.finalise(job.task_id))
    return job


def refused(job: Job, index: int, call: Call) -> str:
    """Name of the error with which a call is refused."""
    with pytest.raises(Reverted) as error:
        job.send(index, call)
    return error.value.name
