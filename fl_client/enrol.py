# SPDX-License-Identifier: Apache-2.0
"""A contributor's calls to the chain around a task; all return unsent calls.

The account that sends them is not the vault's: the vault only gives its public key and the proof
that it holds the secret one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from dao import bls
from dao.chain import Call
from dao.cid import of_digest
from dao.deployment import Contracts
from dao.errors import ChainError
from dao.keystore import BlsKey
from dao.messages import pop_message
from dao.records import ScoreReport
from dao.store import Store
from rewards.merkle import payout_leaves, proof


@dataclass(frozen=True)
class PublicKeys:
    """What the registry keeps of a contributor: EIP-2537 key (128 bytes) and its proof of
    possession (256 bytes), and the SHA-256 of the SuperNode's public key."""

    bls_public_key: bytes
    proof_of_possession: bytes
    node_key_hash: bytes


def public_keys(
    contracts: Contracts, *, account: str, bls_key: BlsKey, node_key_hash: bytes
) -> PublicKeys:
    """Keys and proof for one account at this deployment's registry."""
    key = bls.to_eip2537_g1(bls_key.public_key)
    message = pop_message(
        chain_id=contracts.chain.chain_id,
        registry=contracts.registry.address,
        account=account,
        bls_public_key=key,
    )
    return PublicKeys(
        bls_public_key=key,
        proof_of_possession=bls.to_eip2537_g2(bls_key.prove_possession(message)),
        node_key_hash=node_key_hash,
    )


def register_calls(contracts: Contracts, keys: PublicKeys, *, stake_wei: int) -> tuple[Call, ...]:
    """Approve the stake, then register. ChainError where the stake is below the least one."""
    least = contracts.registry.min_stake_wei()
    if stake_wei < least:
        raise ChainError(
            f"a stake of {stake_wei} wei is below the least one, {least} wei",
            hint=f"name at least {least / 10**18} COVAL",
        )
    return (
        contracts.token.approve(contracts.registry.address, stake_wei),
        contracts.registry.register(
            bls_public_key=keys.bls_public_key,
            proof_of_possession=keys.proof_of_possession,
            super_node_key_hash=keys.node_key_hash,
            stake_wei=stake_wei,
        ),
    )


def rotate_call(contracts: Contracts, keys: PublicKeys) -> Call:
    """Replace the keys on chain; refused there while a task holds a lock."""
    return contracts.registry.rotate_keys(
        bls_public_key=keys.bls_public_key,
        proof_of_possession=keys.proof_of_possession,
        super_node_key_hash=keys.node_key_hash,
    )


def join_call(contracts: Contracts, task_id: int, allow_proof: Sequence[str] = ()) -> Call:
    """Join a task; where it has an allow-list, `allow_proof` shows that the account is on it."""
    return contracts.ledger.join(task_id, allow_proof)


@dataclass(frozen=True)
class Claim:
    """What an account can claim of a finalised task."""

    task_id: int
    account: str
    amount_wei: int
    place: int
    proof: tuple[str, ...]
    claimed: bool


def find_claim(contracts: Contracts, store: Store, *, task_id: int, account: str) -> Claim | None:
    """The account's payout with its proof, from the score report that the chain names; None where
    it gets nothing. ChainError where the task has no result yet or the report leads elsewhere."""
    digest = contracts.ledger.final_of(task_id).score_digest
    if int(digest, 16) == 0:
        raise ChainError(
            f"task {task_id} has no committed result yet",
            hint="payouts can be claimed once it is finalised",
        )
    report = ScoreReport.parse(store.get(of_digest(digest)))
    leaves = payout_leaves(
        task_id,
        [each.contributor for each in report.results],
        [each.payout_wei for each in report.results],
    )
    for index, leaf in enumerate(leaves):
        if leaf.account == account and leaf.place is not None:
            return Claim(
                task_id=task_id,
                account=account,
                amount_wei=leaf.amount,
                place=leaf.place,
                proof=proof(leaves, index),
                claimed=contracts.distributor.is_claimed(task_id, place=leaf.place),
            )
    return None


def claim_call(contracts: Contracts, claim: Claim) -> Call:
    """Pay out a claim."""
    return contracts.distributor.claim(
        claim.task_id, claim.account, claim.amount_wei, place=claim.place, proof=claim.proof
    )
