# SPDX-License-Identifier: Apache-2.0
"""Proposals: read before the vote, and nothing without a passed vote."""

from __future__ import annotations

import pytest
from chain_world import COORDINATOR, FOUNDERS, STRANGER, Job, address, pass_vote, send, small_task

from dao.calldata import UNKNOWN
from dao.chain import Call
from dao.cid import of_digest
from dao.contracts.governor import ProposalState, Support
from dao.contracts.task_types import TaskState
from dao.deployment import Contracts
from dao.errors import ChainError, InputError
from dao.governance import (
    execute,
    find_proposal,
    list_proposals,
    propose,
    propose_release,
    propose_task,
    queue,
    view_proposal,
    vote,
)
from dao.reverts import Reverted
from dao.task_terms import terms_problems
from demo.devnet import Devnet


def proposing(dao: Contracts) -> Call:
    task = small_task()
    return propose_task(dao, task, of_digest(task.digest()))


def test_a_task_opens_only_through_a_passed_vote(devnet: Devnet, dao: Contracts) -> None:
    """Promise 9's first half: no account, no founder, no early execution can open a task."""
    call = proposing(dao)
    send(dao, FOUNDERS[0], call)
    proposal = list_proposals(dao)[0]
    for index in (*FOUNDERS, COORDINATOR, STRANGER):
        with pytest.raises(Reverted) as refused:
            send(dao, index, proposal.actions[0])
        assert refused.value.name == "OwnableUnauthorizedAccount"
    with pytest.raises(ChainError, match="pending"):
        vote(dao, proposal, Support.FOR)
    devnet.advance(61)
    with pytest.raises(ChainError, match="active"):
        queue(dao, proposal)
    send(dao, FOUNDERS[0], vote(dao, proposal, Support.FOR, reason="good terms"))
    with pytest.raises(Reverted) as refused:
        send(dao, FOUNDERS[0], vote(dao, proposal, Support.FOR))
    assert refused.value.name == "GovernorAlreadyCastVote"
    with pytest.raises(Reverted):  # not queued yet
        send(dao, STRANGER, dao.governor.execute(proposal.arguments(), proposal.description))
    devnet.advance_to(dao.governor.vote_end(proposal.id) + 1)
    send(dao, STRANGER, queue(dao, proposal))
    with pytest.raises(ChainError, match="can be executed in"):
        execute(dao, proposal)
    with pytest.raises(Reverted):  # nor past the check of the command
        send(dao, STRANGER, dao.governor.execute(proposal.arguments(), proposal.description))
    assert dao.ledger.task_count() == 0
    devnet.advance_to(dao.governor.executable_at(proposal.id) + 1)
    send(dao, STRANGER, execute(dao, proposal))
    assert dao.ledger.task_of(1).state is TaskState.OPEN
    assert dao.governor.state(proposal.id) is ProposalState.EXECUTED


def test_a_defeated_proposal_cannot_be_queued(devnet: Devnet, dao: Contracts) -> None:
    send(dao, FOUNDERS[0], proposing(dao))
    proposal = list_proposals(dao)[0]
    devnet.advance(61)
    send(dao, FOUNDERS[1], vote(dao, proposal, Support.FOR))
    send(dao, FOUNDERS[0], vote(dao, proposal, Support.AGAINST))
    devnet.advance(800)
    assert view_proposal(dao, proposal).state is ProposalState.DEFEATED
    with pytest.raises(ChainError, match="defeated"):
        queue(dao, proposal)
    with pytest.raises(Reverted) as refused:
        send(dao, STRANGER, dao.governor.queue(proposal.arguments(), proposal.description))
    assert refused.value.name == "GovernorUnexpectedProposalState"


def test_without_quorum_nothing_passes(devnet: Devnet, dao: Contracts) -> None:
    send(dao, FOUNDERS[0], proposing(dao))
    devnet.advance(800)
    assert dao.governor.state(list_proposals(dao)[0].id) is ProposalState.DEFEATED


def test_strangers_cannot_propose(dao: Contracts) -> None:
    with pytest.raises(Reverted) as refused:
        send(dao, STRANGER, proposing(dao))
    assert refused.value.name == "GovernorInsufficientProposerVotes"
    assert refused.value.hint is not None


def test_a_voter_reads_the_task_in_words(devnet: Devnet, dao: Contracts) -> None:
    task = small_task()
    send(dao, FOUNDERS[0], proposing(dao))
    view = view_proposal(dao, find_proposal(dao, "1"))
    action = view.actions[0]
    assert (action.contract, action.function, action.warnings) == ("TaskLedger", "openTask", ())
    said = {item.name: item.meaning for item in action.arguments}
    assert said["terms.taskDigest"] == "0x" + task.digest()
    assert said["terms.taskCid"] == repr(of_digest(task.digest()))
    assert said["terms.coordinator"] == address(COORDINATOR)
    assert said["terms.budget"].endswith("(1,000 COVAL)")
    assert said["terms.quorumBps"] == "6667 (66.67 %)"
    assert said["terms.challengeWindow"] == "3600 (1 h)"
    assert view.trials[0].passes
    assert view.trials[0].says == "would pass and return taskId 1"
    assert view.next_step.startswith("voting opens in")
    assert view.quorum_wei is None
    devnet.advance(61)
    assert view_proposal(dao, view.proposal).quorum_wei == 100_000 * 10**18


def test_unknown_targets_and_selectors_are_called_so(dao: Contracts) -> None:
    calls = [
        Call(address(STRANGER), bytes.fromhex("a9059cbb") + bytes(64), 0, ""),
        Call(dao.ledger.address, b"\xde\xad\xbe\xef", 0, ""),
        Call(dao.token.address, bytes.fromhex("a9059cbb") + b"short", 0, ""),
        dao.timelock.grant_role("admin", address(STRANGER)),
    ]
    send(dao, FOUNDERS[0], propose(dao, calls, "harmless\n\x1b[2Jhousekeeping", check=False))
    view = view_proposal(dao, find_proposal(dao, "#1"))
    assert [action.function for action in view.actions] == [UNKNOWN] * 3 + ["grantRole"]
    assert "UNKNOWN CONTRACT" in view.actions[0].warnings[0]
    assert "UNKNOWN FUNCTION 0xdeadbeef" in view.actions[1].warnings[0]
    assert "UNKNOWN ARGUMENTS" in view.actions[2].warnings[0]
    assert "gives an account power" in view.actions[3].warnings[0]
    assert [trial.passes for trial in view.trials] == [True, False, False, True]


def test_bytes_behind_the_arguments_are_noticed(dao: Contracts) -> None:
    plain = dao.models.revoke(1)
    padded = Call(plain.to, plain.data + b"\x01", 0, "")
    send(dao, FOUNDERS[0], propose(dao, [padded], "revoke", check=False))
    action = view_proposal(dao, find_proposal(dao, "1")).actions[0]
    assert action.function == "revoke"
    assert "not the plain encoding" in action.warnings[0]


def test_a_release_of_an_unfinished_task_cannot_be_proposed(job: Job) -> None:
    job.open()
    with pytest.raises(ChainError, match="open, and only a finalised task"):
        propose_release(job.dao, job.task_id)
    with pytest.raises(ChainError, match="only a finalised task"):
        propose_release(job.dao, 99)


@pytest.mark.promise(9)
def test_promise_9_a_passed_vote_cannot_release_an_unfinished_task(job: Job) -> None:
    """The gate stands on chain: a vote for it passes and its execution fails."""
    job.open()
    call = job.dao.models.release(job.task_id, release_number=1)
    with pytest.raises(ChainError, match="TaskNotFinalised"):
        propose(job.dao, [call], "release early")
    send(job.dao, FOUNDERS[0], propose(job.dao, [call], "release early", check=False))
    proposal = list_proposals(job.dao)[-1]
    job.devnet.advance(61)
    send(job.dao, FOUNDERS[0], vote(job.dao, proposal, Support.FOR))
    job.devnet.advance(800)
    send(job.dao, FOUNDERS[0], queue(job.dao, proposal))
    job.devnet.advance(400)
    with pytest.raises(Reverted) as refused:
        send(job.dao, FOUNDERS[0], execute(job.dao, proposal))
    assert refused.value.name == "TaskNotFinalised"
    assert job.dao.models.release_count() == 0


def test_terms_on_chain_follow_from_the_record(job: Job) -> None:
    job.open()
    terms = job.terms()
    cid = of_digest(job.task.digest())
    assert terms_problems(job.task, cid, terms) == ()
    other = small_task(title="Homes of another town")
    assert any("task_digest" in problem for problem in terms_problems(other, cid, terms))
    opened_at = job.dao.ledger.task_of(job.task_id).opened_at
    assert terms.join_deadline >= opened_at + job.task.terms.join_seconds
    with pytest.raises(ChainError, match="open already, as task 1"):
        propose_task(job.dao, job.task, cid)


def test_a_wrong_cid_is_refused(dao: Contracts) -> None:
    with pytest.raises(InputError, match="not the CID of this task record"):
        propose_task(dao, small_task(), of_digest("ab" * 32))


def test_unknown_proposals_are_refused(dao: Contracts) -> None:
    for name in ("7", "abc", "99999999999"):
        with pytest.raises(InputError):
            find_proposal(dao, name)


def test_the_vote_itself_can_change_governance(devnet: Devnet, dao: Contracts) -> None:
    pass_vote(devnet, dao, [dao.models.set_guardian(address(STRANGER))])
    assert dao.models.guardian() == address(STRANGER)
