# SPDX-License-Identifier: Apache-2.0
"""What a person does at the command line against a cheat, and about a task, a stake or a release
that has gone wrong: every act that the contracts offer, on a real chain."""

from __future__ import annotations

from pathlib import Path

import pytest
from chain_world import (
    BOND,
    BUDGET,
    CHALLENGE_BOND,
    COORDINATOR,
    COVAL,
    FOUNDERS,
    STAKE,
    STRANGER,
    Job,
    address,
    carry_vote,
)
from command_desk import Desk

from dao.cid import blob_ref, cid_of
from dao.contracts.task_types import TaskState
from dao.messages import sign_round_record
from dao.records import Position, RoundRecord, SignedRoundRecord
from demo.devnet import dev_account

CONTRIBUTOR = 10


@pytest.fixture
def desk(covalue_folder: Path, job: Job) -> Desk:
    return Desk(covalue_folder, job)


def test_more_stake_out_of_a_task_and_a_task_that_never_started(desk: Desk, job: Job) -> None:
    job.open()
    job.register(CONTRIBUTOR)
    job.send(CONTRIBUTOR, job.dao.ledger.join(job.task_id))
    task, registry = str(job.task_id), job.dao.registry
    before = desk.sent_by(CONTRIBUTOR)
    poor = desk.ask(CONTRIBUTOR, "contributor", "add-stake", "5", code=2)
    assert "holds 0 COVAL, and the stake to add is 5 COVAL" in poor["error"]
    assert (
        "nothing to add" in desk.ask(CONTRIBUTOR, "contributor", "add-stake", "0", code=2)["error"]
    )
    desk.fund(CONTRIBUTOR, 5 * COVAL)
    tried = desk.ask(CONTRIBUTOR, "contributor", "add-stake", "5", "--dry-run")
    assert [each["sent"] for each in tried["transactions"]] == [False, False]
    assert desk.sent_by(CONTRIBUTOR) == before
    desk.ask(CONTRIBUTOR, "contributor", "add-stake", "5")
    assert registry.contributor_of(address(CONTRIBUTOR)).stake_wei == 2 * STAKE + 5 * COVAL

    desk.fund(STRANGER, 5 * COVAL)
    for words in (("add-stake", "5"), ("leave", task)):
        dry = desk.ask(STRANGER, "contributor", *words, "--dry-run", code=2)
        assert dry == desk.ask(STRANGER, "contributor", *words, code=2), "the same question"
    assert desk.sent_by(STRANGER) == 0, "the allowance was not sent either"
    desk.ask(CONTRIBUTOR, "contributor", "leave", task)
    assert registry.contributor_of(address(CONTRIBUTOR)).locked_stake_wei == 0
    again = desk.ask(CONTRIBUTOR, "contributor", "leave", task, code=2)
    assert "NotJoined" in again["error"]
    assert "covalue contributor status" in again["hint"]

    early = desk.ask(STRANGER, "coordinator", "abort", task, code=2)
    assert "can be aborted in 2 d" in early["error"]
    job.devnet.advance_to(job.terms().deadline)
    desk.ask(STRANGER, "coordinator", "abort", task, "--dry-run")
    supply = job.dao.token.total_supply()
    desk.ask(STRANGER, "coordinator", "abort", task)
    assert job.dao.ledger.task_of(job.task_id).state is TaskState.ABORTED
    assert job.dao.token.total_supply() == supply - BUDGET
    assert "state aborted" in desk.ask(STRANGER, "coordinator", "abort", task, code=2)["error"]


def test_a_challenge_from_its_evidence_to_the_lost_bond(desk: Desk, job: Job) -> None:
    job.start()
    task, evidence = str(job.task_id), desk.folder / "evidence.txt"
    evidence.write_bytes(b"round 3 names a receipt that I never sent")
    challenge = ("contributor", "challenge", task, "evidence.txt")
    none = desk.ask(FOUNDERS[0], "member", "resolve", task, "uphold", code=2)
    assert "has no open challenge" in none["error"]
    assert (
        "and the bond of a challenge is 30 COVAL" in desk.ask(STRANGER, *challenge, code=2)["error"]
    )
    desk.fund(STRANGER, CHALLENGE_BOND)
    desk.ask(STRANGER, *challenge, "--dry-run")
    assert list(desk.store.blobs_beginning(b"round 3")) == []
    made = desk.ask(STRANGER, *challenge)
    assert made["evidence_cid"] == cid_of(evidence.read_bytes())
    assert desk.store.get(made["evidence_cid"]) == evidence.read_bytes()
    (desk.folder / "evidence.txt").write_bytes(b"another")
    desk.fund(STRANGER, CHALLENGE_BOND)
    assert "ChallengeOpen" in desk.ask(STRANGER, *challenge, code=2)["error"]
    assert list(desk.store.blobs_beginning(b"another")) == [], "a refused one publishes nothing"

    standing = desk.ask(STRANGER, "coordinator", "status", task)["challenge"]
    assert standing["challenger"] == address(STRANGER)
    assert standing["evidence_cid"] == made["evidence_cid"]
    proposed = desk.ask(
        FOUNDERS[0], "member", "resolve", task, "reject", "--reason", "It was sent."
    )
    assert proposed["next"] == f"covalue member show {proposed['proposal']}"
    shown = desk.ask(FOUNDERS[1], "member", "show", str(proposed["proposal"]))
    assert shown["title"] == f"Reject the challenge of task {task}"
    assert shown["description"].endswith("It was sent.")
    assert shown["challenges"][0]["evidence_cid"] == made["evidence_cid"]
    assert shown["trials"][0]["passes"] is True
    carry_vote(job.devnet, job.dao)
    assert desk.ask(STRANGER, "coordinator", "status", task)["challenge"] is None

    assert "owes" in desk.ask(STRANGER, "contributor", "withdraw-owed", task, code=2)["error"]
    assert desk.ask(CONTRIBUTOR, "contributor", "withdraw-owed", task, "--dry-run")["owed"]
    before = job.dao.token.balance_of(address(CONTRIBUTOR))
    taken = desk.ask(CONTRIBUTOR, "contributor", "withdraw-owed", task)
    assert taken["owed_wei"] == str(CHALLENGE_BOND // 4)
    assert job.dao.token.balance_of(address(CONTRIBUTOR)) == before + CHALLENGE_BOND // 4
    assert "nothing" in desk.ask(CONTRIBUTOR, "contributor", "withdraw-owed", task, code=2)["error"]


def test_a_challenge_that_nobody_decides_puts_the_abort_off(desk: Desk, job: Job) -> None:
    job.start()
    task = str(job.task_id)
    job.devnet.advance_to(job.terms().deadline - 1000)
    desk.fund(STRANGER, CHALLENGE_BOND)
    (desk.folder / "evidence.txt").write_bytes(b"it leaks")
    desk.ask(STRANGER, "contributor", "challenge", task, "evidence.txt")
    job.devnet.advance_to(job.terms().deadline)
    assert (
        "can be aborted in 1 h 43 min"
        in desk.ask(STRANGER, "coordinator", "abort", task, code=2)["error"]
    )
    job.devnet.advance(6300)
    desk.ask(STRANGER, "coordinator", "abort", task)
    assert job.dao.token.balance_of(address(STRANGER)) == CHALLENGE_BOND, "its bond comes back"


def record(job: Job, round_number: int, model: bytes) -> RoundRecord:
    """A round record of the task: what counts here are its place and its digest."""
    position = Position(
        chain_id=job.dao.chain.chain_id,
        ledger=job.dao.ledger.address,
        task_id=job.task_id,
        task_digest=job.task.digest(),
        round=round_number,
    )
    return RoundRecord(
        kind="covalue.round/1",
        position=position,
        previous_record=job.task.digest(),
        base_model=blob_ref(b"base"),
        receipts=(),
        exclusions=(),
        norm_clips=(),
        judgements=(),
        judge_floor_pico=None,
        model=blob_ref(model),
    )


def signed_by(index: int, made: RoundRecord) -> bytes:
    signature = sign_round_record(dev_account(index), made.position, made.digest())
    return SignedRoundRecord(record=made, signature="0x" + signature.hex()).canonical()


def test_two_signed_records_of_one_round_are_found_and_proved(desk: Desk, job: Job) -> None:
    job.start()
    task = str(job.task_id)
    prove = ("contributor", "prove-equivocation", task)
    one = desk.store.put(signed_by(COORDINATOR, record(job, 1, b"one"))).cid
    desk.store.put(signed_by(COORDINATOR, record(job, 2, b"another round")))
    desk.store.put(signed_by(STRANGER, record(job, 1, b"by a stranger")))
    other_task = record(job, 1, b"elsewhere")
    moved = other_task.position.model_copy(update={"task_id": job.task_id + 1})
    desk.store.put(signed_by(COORDINATOR, other_task.model_copy(update={"position": moved})))
    desk.store.put(b'{"record":{"base_model":"no record at all"}')
    assert "no two records of one round" in desk.ask(STRANGER, *prove, code=2)["error"]
    assert "1 records are named" in desk.ask(STRANGER, *prove, one, code=2)["error"]
    assert "no two records" in desk.ask(STRANGER, *prove, one, one, code=2)["error"]
    (desk.folder / "two.json").write_bytes(signed_by(COORDINATOR, record(job, 1, b"two")))
    named = desk.ask(STRANGER, *prove, one, "two.json", "--dry-run")
    assert named["reward_wei"] == str(BOND // 2)
    desk.store.put((desk.folder / "two.json").read_bytes())
    desk.ask(STRANGER, *prove)
    assert job.dao.ledger.task_of(job.task_id).state is TaskState.ABORTED
    assert job.dao.token.balance_of(address(STRANGER)) == BOND // 2
    assert "state aborted" in desk.ask(STRANGER, *prove, code=2)["error"]
