# SPDX-License-Identifier: Apache-2.0
"""A task on chain with real BLS signatures: what it does, and everything it refuses."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from chain_world import (
    BOND,
    BUDGET,
    CHALLENGE_BOND,
    CONTRIBUTORS,
    COORDINATOR,
    HOLDER_A,
    HOLDER_B,
    PART_BOND,
    PART_SALTS,
    STRANGER,
    Job,
    address,
    pass_vote,
    small_task,
)
from eth_abi.abi import encode
from eth_utils.crypto import keccak
from settled_task import (
    closed,
    refused,
    report,
)

from dao.chain import Call
from dao.contracts.task_types import ChainCheckpoint, FinalReport, TaskState
from dao.reverts import Reverted
from dao.task_terms import EXECUTION_MARGIN_SECONDS


@pytest.mark.parametrize("signers", [(), (10,), (10, 11)])
def test_below_quorum_nothing_is_committed(job: Job, signers: Sequence[int]) -> None:
    """Two of four are less than 66.67 %."""
    job.start()
    checkpoint = job.checkpoint(0, 1, 2)
    message = job.dao.ledger.checkpoint_message(job.task_id, checkpoint)
    bits, signature = job.sign(message, signers or (10,))
    call = job.dao.ledger.commit_checkpoint(
        job.task_id, checkpoint, signers=bits if signers else 0, signature=signature
    )
    assert refused(job, STRANGER, call) == "QuorumNotReached"
    assert job.dao.ledger.task_of(job.task_id).checkpoint_count == 0


def test_three_of_four_are_enough(job: Job) -> None:
    job.start()
    job.commit(job.checkpoint(0, 1, 2), signers=(10, 11, 13))
    ledger = job.dao.ledger
    assert ledger.checkpoint_of(job.task_id, 0) == job.checkpoint(0, 1, 2)
    assert ledger.checkpoint_signers(job.task_id, 0, from_block=0) == 0b1011


@pytest.mark.promise(12)
def test_promise_12_a_signature_fits_one_checkpoint_only(job: Job) -> None:
    """Another model, other signers, another purpose, another position."""
    job.start()
    good = job.checkpoint(0, 1, 2)
    message = job.dao.ledger.checkpoint_message(job.task_id, good)
    bits, signature = job.sign(message, CONTRIBUTORS)

    def commit(checkpoint: ChainCheckpoint, signers: int, sig: bytes) -> str:
        call = job.dao.ledger.commit_checkpoint(
            job.task_id, checkpoint, signers=signers, signature=sig
        )
        return refused(job, STRANGER, call)

    other_model = ChainCheckpoint(0, 1, 2, good.records_root, "cd" * 32)
    assert commit(other_model, bits, signature) == "InvalidSignature"
    assert commit(good, 0b0111, signature) == "InvalidSignature"
    assert commit(good, bits | 1 << 4, signature) == "SignersBeyondRoster"
    final = job.dao.ledger.final_message(job.task_id, report(job))
    assert commit(good, bits, job.sign(final, CONTRIBUTORS)[1]) == "InvalidSignature"
    assert commit(job.checkpoint(1, 1, 2), bits, signature) == "UnexpectedIndex"
    assert commit(job.checkpoint(0, 2, 3), bits, signature) == "UnexpectedRounds"
    assert commit(job.checkpoint(0, 1, 3), bits, signature) == "UnexpectedRounds"
    assert commit(ChainCheckpoint(0, 1, 2, "00" * 32, "cd" * 32), bits, signature) == "ZeroDigest"
    job.commit(good)
    assert commit(good, bits, signature) == "UnexpectedIndex"


def test_who_may_join_and_when(job: Job) -> None:
    ledger = job.dao.ledger
    job.open()
    assert refused(job, STRANGER, ledger.join(job.task_id)) == "NotRegistered"
    job.register(10)
    job.send(10, ledger.join(job.task_id))
    assert refused(job, 10, ledger.join(job.task_id)) == "AlreadyJoined"
    assert refused(job, 10, ledger.join(99)) == "WrongState"
    job.send(10, ledger.leave(job.task_id))
    assert not ledger.is_joined(job.task_id, address(10))
    job.register(11)
    job.devnet.advance_to(job.terms().join_deadline + 1)
    assert refused(job, 11, ledger.join(job.task_id)) == "TooLate"


def test_the_allow_list(job: Job) -> None:
    """Leaf and tree as OpenZeppelin's; two accounts, sorted pair."""

    allowed = [keccak(keccak(encode(["address"], [address(i)]))) for i in (10, 11)]
    root = keccak(b"".join(sorted(allowed)))
    job.task = small_task(allow_root="0x" + root.hex())
    job.open()
    for index in (10, 12):
        job.register(index)
    job.send(10, job.dao.ledger.join(job.task_id, ["0x" + allowed[1].hex()]))
    stolen = job.dao.ledger.join(job.task_id, ["0x" + allowed[1].hex()])
    assert refused(job, 12, stolen) == "NotAllowed"


def test_start_needs_everything(job: Job) -> None:
    ledger = job.dao.ledger
    job.open()
    start = ledger.start(job.task_id)
    assert refused(job, STRANGER, start) == "NotCoordinator"
    assert refused(job, COORDINATOR, start) == "BondMissing"
    job.post_bonds()
    for index in CONTRIBUTORS[:2]:
        job.register(index)
        job.send(index, ledger.join(job.task_id))
    assert refused(job, COORDINATOR, start) == "RosterTooSmall"
    job.register(12)
    job.send(12, ledger.join(job.task_id))
    job.send(COORDINATOR, start)
    assert refused(job, 10, ledger.leave(job.task_id)) == "WrongState"


def test_parts_open_only_as_committed(job: Job) -> None:
    ledger = job.dao.ledger
    job.start()
    assert refused(job, HOLDER_A, job.open_part_call(0)) == "WrongState"
    job.train()
    assert refused(job, HOLDER_B, job.open_part_call(0)) == "NotHolder"
    other = ledger.open_part(
        job.task_id, 0, salt=PART_SALTS[0], part_digest="ee" * 32, part_cid="bafkreiother"
    )
    assert refused(job, HOLDER_A, other) == "CommitmentMismatch"
    job.send(HOLDER_A, job.open_part_call(0))
    assert refused(job, HOLDER_A, job.open_part_call(0)) == "PartAlreadyOpened"


def test_a_part_not_opened_loses_its_bond(job: Job) -> None:
    job.start()
    job.train()
    job.send(HOLDER_A, job.open_part_call(0))
    with pytest.raises(Reverted, match="TooEarly"):
        job.close(report(job))
    job.devnet.advance_to(job.dao.ledger.task_of(job.task_id).reveal_deadline + 1)
    assert refused(job, HOLDER_B, job.open_part_call(1)) == "TooLate"
    supply = job.dao.token.total_supply()
    job.close(report(job))
    assert job.dao.token.total_supply() == supply - PART_BOND
    assert not job.dao.ledger.part_of(job.task_id, 1).opened


@pytest.mark.promise(8)
def test_promise_8_results_above_the_budget_are_refused(job: Job) -> None:
    job.start()
    job.train()
    job.open_parts()
    good = report(job)
    above = FinalReport(**{**good.__dict__, "payout_total_wei": BUDGET + 1})
    with pytest.raises(Reverted, match="BudgetExceeded"):
        job.close(above)
    with pytest.raises(Reverted, match="QuorumNotReached"):
        job.close(good, signers=(10, 11))
    bits, signature = job.sign(job.dao.ledger.final_message(job.task_id, above), CONTRIBUTORS)
    forged = job.dao.ledger.close(job.task_id, good, signers=bits, signature=signature)
    assert refused(job, STRANGER, forged) == "InvalidSignature"


def test_the_challenge_window_holds_the_money(job: Job) -> None:
    closed(job)
    finalise = job.dao.ledger.finalise(job.task_id)
    assert refused(job, STRANGER, finalise) == "TooEarly"
    assert refused(job, STRANGER, job.dao.ledger.abort(job.task_id)) in ("WrongState", "TooEarly")
    job.fund(STRANGER, CHALLENGE_BOND, job.dao.ledger.address)
    job.send(
        STRANGER,
        job.dao.ledger.challenge(job.task_id, evidence_digest="aa" * 32, evidence_cid="bafkrei"),
    )
    job.devnet.advance(3601)
    assert refused(job, STRANGER, finalise) == "ChallengeOpen"
    before = job.dao.ledger.task_of(job.task_id).challenge_deadline
    pass_vote(job.devnet, job.dao, [job.dao.ledger.resolve(job.task_id, upheld=False)])
    assert job.dao.ledger.task_of(job.task_id).challenge_deadline > before
    owed = job.dao.ledger.owed_of(job.task_id, address(10))
    assert owed == CHALLENGE_BOND // 4
    job.send(10, job.dao.ledger.withdraw_owed(job.task_id))
    assert refused(job, 10, job.dao.ledger.withdraw_owed(job.task_id)) == "NothingOwed"
    job.devnet.advance_to(job.dao.ledger.task_of(job.task_id).challenge_deadline + 1)
    job.send(STRANGER, finalise)


def test_an_upheld_challenge_ends_the_task(job: Job) -> None:
    closed(job)
    job.fund(STRANGER, CHALLENGE_BOND, job.dao.ledger.address)
    call = job.dao.ledger.challenge(job.task_id, evidence_digest="aa" * 32, evidence_cid="bafkrei")
    job.send(STRANGER, call)
    pass_vote(job.devnet, job.dao, [job.dao.ledger.resolve(job.task_id, upheld=True)])
    assert job.dao.ledger.task_of(job.task_id).state is TaskState.ABORTED
    assert job.dao.token.balance_of(address(STRANGER)) == CHALLENGE_BOND + BOND // 2
    assert job.dao.distributor.funded_of(job.task_id) == (0, 0)


def test_two_signed_records_for_one_round_cost_the_bond(job: Job) -> None:
    job.start()
    ledger, key = job.dao.ledger, job.devnet.account(COORDINATOR)
    digests = ("aa" * 32, "bb" * 32)
    signatures = [
        bytes(
            key.unsafe_sign_hash(
                ledger.round_record_digest(job.task_id, round=1, digest=d)
            ).signature
        )
        for d in digests
    ]

    def prove(b: str, signature_b: bytes) -> Call:
        return ledger.prove_equivocation(
            job.task_id,
            round=1,
            digest_a=digests[0],
            signature_a=signatures[0],
            digest_b=b,
            signature_b=signature_b,
        )

    assert refused(job, STRANGER, prove(digests[0], signatures[0])) == "NoEquivocation"
    assert refused(job, STRANGER, prove("cc" * 32, signatures[1])) == "NotCoordinator"
    job.send(STRANGER, prove(digests[1], signatures[1]))
    assert ledger.task_of(job.task_id).state is TaskState.ABORTED
    assert job.dao.token.balance_of(address(STRANGER)) == BOND // 2


def test_anyone_aborts_after_the_deadline(job: Job) -> None:
    job.start()
    job.commit(job.checkpoint(0, 1, 2))
    abort = job.dao.ledger.abort(job.task_id)
    assert refused(job, STRANGER, abort) == "TooEarly"
    supply = job.dao.token.total_supply()
    job.devnet.advance_to(job.terms().deadline + 1)
    job.send(STRANGER, abort)
    task = job.dao.ledger.task_of(job.task_id)
    assert (task.state, task.checkpoint_count) == (TaskState.ABORTED, 1)  # what is committed stays
    assert job.dao.token.total_supply() == supply - BUDGET
    assert job.dao.token.balance_of(address(COORDINATOR)) == BOND
    assert job.dao.registry.contributor_of(address(10)).locked_stake_wei == 0
    assert job.terms().deadline - task.opened_at > 86_400 - EXECUTION_MARGIN_SECONDS
