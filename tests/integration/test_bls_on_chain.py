# SPDX-License-Identifier: Apache-2.0
"""BLS12-381 on the chain's precompiles against two independent libraries, and every false key."""

from __future__ import annotations

from types import ModuleType

import pytest
from chain_world import (
    CONTRIBUTORS,
    COORDINATOR,
    FOUNDERS,
    STAKE,
    STRANGER,
    Job,
    address,
    send,
    small_task,
)
from py_ecc.optimized_bls12_381 import field_modulus

from dao import bls, bls_fast, bls_reference, messages
from dao.contracts.task_types import FinalReport
from dao.deployment import Contracts
from dao.records import Position
from dao.reverts import Reverted
from demo.devnet import Devnet

SECRET = (123_456_789).to_bytes(32, "big")


def proof_for(dao: Contracts, account: str, *, secret: bytes = SECRET) -> tuple[bytes, bytes]:
    """Key (128) and proof of possession (256), as the registry takes them."""
    key = bls.to_eip2537_g1(bls.public_key(secret))
    message = messages.pop_message(
        chain_id=dao.chain.chain_id,
        registry=dao.registry.address,
        account=account,
        bls_public_key=key,
    )
    return key, bls.to_eip2537_g2(bls.prove_possession(secret, message))


def register(dao: Contracts, index: int, key: bytes, proof: bytes) -> str:
    """Name of the error, or ok."""
    if dao.token.allowance(address(index), dao.registry.address) < STAKE:
        send(dao, FOUNDERS[0], dao.token.transfer(address(index), STAKE))
        send(dao, index, dao.token.approve(dao.registry.address, STAKE))
    call = dao.registry.register(
        bls_public_key=key,
        proof_of_possession=proof,
        super_node_key_hash=bytes(32),
        stake_wei=STAKE,
    )
    try:
        send(dao, index, call)
    except Reverted as refused:
        return refused.name
    return "ok"


def curve_point_outside_the_subgroup() -> bytes:
    """A G1 point on y^2 = x^3 + 4 whose order is not r: almost every one is such."""
    prime = int(field_modulus)
    for x in range(1, 100):
        square = (x**3 + 4) % prime
        y = pow(square, (prime + 1) // 4, prime)
        if y * y % prime == square:
            return x.to_bytes(64, "big") + y.to_bytes(64, "big")
    raise AssertionError("no point found")


@pytest.mark.promise(12)
def test_promise_12_messages_are_what_the_contracts_hash(job: Job) -> None:
    """Promise 12: Python and Solidity bind the same chain, contract, task, position, purpose."""
    job.open()
    dao, digest = job.dao, job.task.digest()
    key, _ = proof_for(dao, address(10))
    common = {"chain_id": dao.chain.chain_id, "ledger": dao.ledger.address, "task_id": job.task_id}
    assert dao.registry.pop_message(address(10), key) == messages.pop_message(
        chain_id=dao.chain.chain_id,
        registry=dao.registry.address,
        account=address(10),
        bls_public_key=key,
    )
    checkpoint = job.checkpoint(0, 1, 2)
    assert dao.ledger.checkpoint_message(job.task_id, checkpoint) == messages.checkpoint_message(
        **common,
        task_digest=digest,
        index=0,
        first_round=1,
        last_round=2,
        records_root=checkpoint.records_root,
        model_digest=checkpoint.model_digest,
    )
    report = FinalReport("ab" * 32, "bafkreiscores", "0x" + "cd" * 32, 7, "0x" + "ef" * 32, 8)
    assert dao.ledger.final_message(job.task_id, report) == messages.final_message(
        **common,
        task_digest=digest,
        model_digest=dao.ledger.task_of(job.task_id).model_digest,
        score_digest=report.score_digest,
        payout_root=report.payout_root,
        payout_total_wei=report.payout_total_wei,
        share_root=report.share_root,
        epsilon_micro=report.epsilon_micro,
    )
    position = Position(
        chain_id=dao.chain.chain_id,
        ledger=dao.ledger.address,
        task_id=job.task_id,
        task_digest=digest,
        round=3,
    )
    assert dao.ledger.round_record_digest(
        job.task_id, round=3, digest="12" * 32
    ) == messages.round_record_hash(position, "12" * 32)


def test_coordinators_signature_is_recovered_alike(devnet: Devnet, job: Job) -> None:
    """Signatures made by `dao.messages` end a task on chain when they contradict each other."""
    job.start()
    position = Position(
        chain_id=job.dao.chain.chain_id,
        ledger=job.dao.ledger.address,
        task_id=job.task_id,
        task_digest=job.task.digest(),
        round=1,
    )
    signer = devnet.account(COORDINATOR)
    signatures = [messages.sign_round_record(signer, position, mark * 32) for mark in ("aa", "bb")]
    call = job.dao.ledger.prove_equivocation(
        job.task_id,
        round=1,
        digest_a="aa" * 32,
        signature_a=signatures[0],
        digest_b="bb" * 32,
        signature_b=signatures[1],
    )
    job.send(STRANGER, call)


@pytest.mark.parametrize("backend", [bls_fast, bls_reference], ids=["fast", "reference"])
def test_the_chain_accepts_both_backends(dao: Contracts, backend: ModuleType) -> None:
    key = backend.to_eip2537_g1(backend.public_key(SECRET))
    message = dao.registry.pop_message(address(10), key)
    proof = backend.to_eip2537_g2(backend.prove_possession(SECRET, message))
    assert register(dao, 10, key, proof) == "ok"
    found = dao.registry.contributor_of(address(10))
    assert (found.bls_public_key, found.stake_wei, found.registered) == (key, STAKE, True)


def test_the_aggregate_key_is_the_sum_of_the_roster(job: Job) -> None:
    job.start()
    keys = [bls_reference.public_key(job.secrets[index]) for index in CONTRIBUTORS]
    total = bls_reference.to_eip2537_g1(bls_reference.aggregate_keys(keys))
    assert job.dao.ledger.aggregate_key_of(job.task_id) == total
    assert job.dao.ledger.roster_keys(job.task_id) == tuple(
        bls_reference.to_eip2537_g1(key) for key in keys
    )


@pytest.mark.promise(12)
def test_promise_12_proofs_for_others_are_refused(dao: Contracts) -> None:
    """Bound to the account, the registry, the chain and the purpose."""
    key, proof = proof_for(dao, address(10))
    assert register(dao, 11, key, proof) == "InvalidProofOfPossession"
    elsewhere = messages.pop_message(
        chain_id=1, registry=dao.registry.address, account=address(10), bls_public_key=key
    )
    other_chain = bls.to_eip2537_g2(bls.prove_possession(SECRET, elsewhere))
    assert register(dao, 10, key, other_chain) == "InvalidProofOfPossession"
    message = dao.registry.pop_message(address(10), key)
    as_signature = bls.to_eip2537_g2(bls.sign(SECRET, message))
    assert register(dao, 10, key, as_signature) == "InvalidProofOfPossession"
    assert register(dao, 10, key, proof) == "ok"
    assert register(dao, 10, key, proof) == "AlreadyRegistered"
    stolen_key, stolen_proof = proof_for(dao, address(11))
    assert register(dao, 11, stolen_key, stolen_proof) == "KeyTaken"


def test_keys_that_are_no_keys_are_refused(dao: Contracts) -> None:
    key, proof = proof_for(dao, address(10))
    off_curve = key[:-1] + bytes([key[-1] ^ 1])
    refused = {"InvalidPoint", "InvalidProofOfPossession"}
    prime = int(field_modulus)
    x = int.from_bytes(key[:64], "big")
    spelled_otherwise = (x + prime).to_bytes(64, "big") + key[64:]
    for wrong, names in (
        (bytes(128), {"PointIsInfinity"}),
        (off_curve, refused),
        (curve_point_outside_the_subgroup(), refused),
        (spelled_otherwise, refused),
        (key[:-1], {"InvalidPointLength"}),
        (key + b"\0", {"InvalidPointLength"}),
    ):
        assert register(dao, 10, wrong, proof) in names
    assert register(dao, 10, key, bytes(256)) in {"PointIsInfinity", "InvalidProofOfPossession"}
    assert register(dao, 10, key, proof[:-1]) == "InvalidProofOfPossession"
    assert not dao.registry.contributor_of(address(10)).registered


def test_keys_rotate_only_while_nothing_is_joined(job: Job) -> None:
    job.open()
    job.register(10)
    key, proof = proof_for(job.dao, address(10))
    rotate = job.dao.registry.rotate_keys(
        bls_public_key=key, proof_of_possession=proof, super_node_key_hash=b"\x01" * 32
    )
    job.send(10, job.dao.ledger.join(job.task_id))
    with pytest.raises(Reverted) as refused:
        job.send(10, rotate)
    assert refused.value.name == "StakeIsLocked"
    job.send(10, job.dao.ledger.leave(job.task_id))
    job.send(10, rotate)
    assert job.dao.registry.contributor_of(address(10)).bls_public_key == key


@pytest.mark.promise(12)
def test_promise_12_a_signature_of_another_task_is_refused(job: Job) -> None:
    """The same people, the same checkpoint, another task."""
    job.start()
    checkpoint = job.checkpoint(0, 1, 2)
    bits, signature = job.sign(
        job.dao.ledger.checkpoint_message(job.task_id, checkpoint), CONTRIBUTORS
    )
    first, secrets = job.task_id, job.secrets
    second = Job(job.devnet, job.dao, small_task(title="Another town"), secrets=secrets)
    second.open()
    for index in CONTRIBUTORS:
        second.send(index, job.dao.ledger.join(second.task_id))
    second.post_bonds()
    second.send(COORDINATOR, job.dao.ledger.start(second.task_id))
    assert second.task_id == first + 1
    call = job.dao.ledger.commit_checkpoint(
        second.task_id, checkpoint, signers=bits, signature=signature
    )
    with pytest.raises(Reverted) as refused:
        job.send(STRANGER, call)
    assert refused.value.name == "InvalidSignature"
