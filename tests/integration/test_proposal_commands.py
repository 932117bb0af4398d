# SPDX-License-Identifier: Apache-2.0
"""What members propose by commands beside tasks and releases, carried to the end on a chain."""

from __future__ import annotations

from pathlib import Path

import pytest
from chain_world import (
    COVAL,
    FOUNDERS,
    GUARDIAN,
    STAKE,
    STRANGER,
    Job,
    address,
    carry_vote,
    run_vote,
)
from command_desk import Desk
from settled_task import finalised

from dao.contracts.model_registry import ReleaseStatus
from dao.governance import list_proposals, propose_release

CONTRIBUTOR = 10


@pytest.fixture
def desk(covalue_folder: Path, job: Job) -> Desk:
    return Desk(covalue_folder, job)


def test_a_release_is_suspended_brought_back_and_revoked(desk: Desk, job: Job) -> None:
    finalised(job)
    models, founder = job.dao.models, FOUNDERS[0]
    run_vote(job.devnet, job.dao, propose_release(job.dao, job.task_id))
    refused = desk.ask(founder, "model", "suspend", "1", code=2)
    assert f"is not the guardian ({address(GUARDIAN)})" in refused["error"]
    assert "covalue member propose ModelRegistry.suspend 1" in refused["hint"]
    assert "UnexpectedStatus" in desk.ask(GUARDIAN, "model", "suspend", "2", code=2)["error"]
    desk.ask(GUARDIAN, "model", "suspend", "1", "--dry-run")
    assert models.current().status is ReleaseStatus.RELEASED
    desk.ask(GUARDIAN, "model", "suspend", "1")
    assert models.current().status is ReleaseStatus.SUSPENDED
    assert "there is no release 9" in desk.ask(founder, "model", "unsuspend", "9", code=2)["error"]
    desk.ask(founder, "model", "unsuspend", "1", "--reason", "The fault was elsewhere.")
    carry_vote(job.devnet, job.dao)
    assert models.current().status is ReleaseStatus.RELEASED
    desk.ask(founder, "model", "revoke", "1", "--dry-run")
    desk.ask(founder, "model", "revoke", "1")
    carry_vote(job.devnet, job.dao)
    assert models.current().status is ReleaseStatus.REVOKED
    assert "UnexpectedStatus" in desk.ask(founder, "model", "revoke", "1", code=2)["error"]


def test_members_burn_a_stake_and_change_the_dao(desk: Desk, job: Job) -> None:
    dao, founder = job.dao, FOUNDERS[0]
    job.register(CONTRIBUTOR)
    (desk.folder / "evidence.txt").write_bytes(b"flipped labels, round for round")
    slash = ("member", "slash", address(CONTRIBUTOR), "7.5", "evidence.txt")
    assert (
        "no stake"
        in desk.ask(founder, "member", "slash", address(STRANGER), *slash[3:], code=2)["error"]
    )
    none = desk.ask(STRANGER, *slash, code=2)
    assert "GovernorInsufficientProposerVotes" in none["error"]
    assert list(desk.store.blobs_beginning(b"flipped")) == []
    made = desk.ask(founder, *slash)
    assert f"Burn 7.5 COVAL of the stake of {address(CONTRIBUTOR)}" in made["description"]
    assert desk.store.get(made["evidence_cid"]) == b"flipped labels, round for round"
    carry_vote(job.devnet, dao)
    left = dao.registry.contributor_of(address(CONTRIBUTOR)).stake_wei
    assert left == 2 * STAKE - 75 * COVAL // 10

    propose = ("member", "propose")
    quorum = "CovalueGovernor.updateQuorumNumerator"
    dry = desk.ask(founder, *propose, quorum, "12", "--dry-run")
    assert not dry["sent"]
    assert dry["does"][1:] == [
        "  newQuorumNumerator = 12",
        "  WARNING: changes the quorum",
    ]
    made = desk.ask(founder, *propose, quorum, "12", "--title", "A higher quorum")
    shown = desk.ask(founder, "member", "show", str(made["proposal"]))
    assert shown["title"] == "A higher quorum"
    assert shown["trials"] == [{"passes": True, "says": "cannot be tried before it is executed"}]
    assert shown["actions"][0]["warnings"] == ["changes the quorum"]
    carry_vote(job.devnet, dao)
    assert dao.governor.quorum_percent() == 12
    desk.ask(founder, *propose, "RevenueShare.setTreasury", address(STRANGER))
    carry_vote(job.devnet, dao)
    assert dao.revenue.treasury() == address(STRANGER)

    for words, error, hint in (
        (("ModelRegistry.revoke", "1"), "has a command of its own", "covalue model revoke"),
        (("Wallet.pay", "1"), "no contract of this DAO", "ModelRegistry"),
        (("ModelRegistry.current",), "no function 'current'", "setGuardian(address guardian_)"),
        (("ModelRegistry.setGuardian",), "takes 0 arguments", "setGuardian(address"),
        (("ModelRegistry.setGuardian", "ada"), "'ada' is no address", "0x and hex digits"),
        (("CovalueGovernor.setVotingDelay", str(2**48)), "is no uint48", "seconds"),
        (("TimelockController.updateDelay", "ten"), "'ten' is no uint256", "digits"),
        (("CovalueToken.transfer", address(3), "1"), "ERC20InsufficientBalance", ""),
    ):
        refused = desk.ask(founder, *propose, *words, code=2)
        assert error in refused["error"], words
        assert hint in (refused["hint"] or ""), words


def test_a_proposer_takes_its_proposal_back_before_the_vote(desk: Desk, job: Job) -> None:
    founder = FOUNDERS[0]
    delay = ("member", "propose", "TimelockController.updateDelay")
    number = str(desk.ask(founder, *delay, "400")["proposal"])
    stranger = desk.ask(FOUNDERS[1], "member", "cancel", number, code=2)
    assert "GovernorUnableToCancel" in stranger["error"]
    assert "Only its proposer" in stranger["hint"]
    desk.ask(founder, "member", "cancel", number)
    assert desk.ask(founder, "member", "show", number)["state"] == "canceled"
    number = str(desk.ask(founder, *delay, "500")["proposal"])
    job.devnet.advance(61)
    late = desk.ask(founder, "member", "cancel", number, code=2)
    assert "is active, and only one that is pending can be cancelled" in late["error"]
    assert len(list_proposals(job.dao)) == 2
