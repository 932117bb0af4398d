# SPDX-License-Identifier: Apache-2.0
"""What a person does at the command line against a cheat, and about a task, a stake or a release
that has gone wrong: every act that the contracts offer, on a real chain."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from chain_world import (
    BOND,
    BUDGET,
    CHALLENGE_BOND,
    COORDINATOR,
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
from click.testing import CliRunner
from settled_task import finalised

from cli.commands import load_command
from dao.cid import blob_ref, cid_of
from dao.contracts.model_registry import ReleaseStatus
from dao.contracts.task_types import TaskState
from dao.governance import list_proposals, propose_release
from dao.keystore import AccountKey, create_password
from dao.messages import sign_round_record
from dao.records import Position, RoundRecord, SignedRoundRecord
from dao.store import LocalStore
from demo.devnet import dev_account

CONTRIBUTOR = 10


class Desk:
    """A folder with settings and a store, in the name of one devnet account at a time."""

    def __init__(self, folder: Path, job: Job) -> None:
        self.folder, self.job = folder, job
        job.dao.deployment.write(folder / "deployment.json")
        create_password(folder / "password")

    @property
    def store(self) -> LocalStore:
        return LocalStore(self.folder / "blocks")

    def ask(self, index: int, *words: str, code: int = 0) -> dict[str, Any]:
        """The JSON object of a command, sent from account `index`."""
        keystore = self.folder / f"{index}.json"
        if not keystore.exists():
            secret = bytes(dev_account(index).key)
            AccountKey.create(keystore, self.folder / "password", light=True, secret=secret)
        (self.folder / "covalue.toml").write_text(
            f'[chain]\nrpc_url = "{self.job.dao.chain.rpc_url}"\n'
            f'[account]\nkeystore = "{index}.json"\npassword_file = "password"\n'
            '[store]\npath = "blocks"\n'
        )
        result = CliRunner().invoke(load_command(words[0]), [*words[1:], "--json"])
        assert result.exit_code == code, result.output + repr(result.exception)
        found: dict[str, Any] = json.loads(result.stdout)
        assert code == 0 or set(found) == {"error", "hint"}
        return found

    def sent_by(self, index: int) -> int:
        count = ("eth_getTransactionCount", address(index), "latest")
        return int(self.job.dao.chain.request(*count), 16)

    def fund(self, index: int, amount_wei: int) -> None:
        self.job.send(FOUNDERS[0], self.job.dao.token.transfer(address(index), amount_wei))


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
    assert desk.store.get(made["evidence_cid"]) == b"flipped labels, round for round"
    carry_vote(job.devnet, dao)
    left = dao.registry.contributor_of(address(CONTRIBUTOR)).stake_wei
    assert left == 2 * STAKE - 75 * COVAL // 10

    propose = ("member", "propose")
    quorum = "CovalueGovernor.updateQuorumNumerator"
    dry = desk.ask(founder, *propose, quorum, "12", "--dry-run")
    assert not dry["sent"]
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
