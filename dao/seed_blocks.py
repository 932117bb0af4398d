# SPDX-License-Identifier: Apache-2.0
"""The blocks whose hashes seed the scores of a task: right after each committed checkpoint.

Whoever sent updates had sent them, and the coordinator had fixed and committed them, before
anybody knew such a hash; and the block's number follows from the commitment, so that nobody can
choose among hashes.
"""

from __future__ import annotations

from dao.chain import Chain
from dao.contracts.task_ledger import TaskLedger
from dao.deploy import DEV_CHAIN_IDS
from dao.errors import ChainError
from dao.records import SeedBlock
from dao.rpc import RpcRefusal

FINAL_DEPTH = 64
"""Blocks above one that is taken for final where a node does not say which is: two epochs."""
_UNKNOWN_WORD = (-32601, -32602, -39001)
"""JSON-RPC: no such method, invalid parameters; and geth's "unknown block" before there is one."""


def seed_blocks(
    ledger: TaskLedger, task_id: int, *, checkpoints: int, from_block: int, until: int
) -> tuple[SeedBlock, ...]:
    """The block after the one of each of the first `checkpoints` checkpoints, in order: those with
    a number of at most `until`.

    ChainError where the endpoint shows fewer commitments than that.
    """
    committed = ledger.checkpoint_blocks(task_id, from_block=from_block)
    missing = [index for index in range(checkpoints) if index not in committed]
    if missing:
        raise ChainError(
            f"{ledger.chain.shown_url} does not show in which block checkpoint {missing[0]} of "
            f"task {task_id} was committed",
            hint="it does not keep all events; use an endpoint that does",
        )
    numbers = [committed[index] + 1 for index in range(checkpoints)]
    return tuple(_seed_block(ledger.chain, number) for number in numbers if number <= until)


def final_block(chain: Chain) -> int:
    """Number of the last block that nothing undoes: what the node calls finalized; where it knows
    no such word, `FINAL_DEPTH` below the latest; on a devnet, which nobody can fork, the latest.
    ChainError where the node refuses for another reason: it may know the word."""
    if chain.chain_id not in DEV_CHAIN_IDS:
        try:
            found = chain.request("eth_getBlockByNumber", "finalized", False)
        except RpcRefusal as refusal:
            if refusal.code not in _UNKNOWN_WORD:
                raise
            found = None
        if found is not None:
            return int(found["number"], 16)
        return max(0, chain.block().number - FINAL_DEPTH)
    return chain.block().number


def _seed_block(chain: Chain, number: int) -> SeedBlock:
    found = chain.request("eth_getBlockByNumber", hex(number), False)
    if found is None:
        raise ChainError(
            f"{chain.shown_url} has no block {number}",
            hint="it is behind, or the chain was reorganised a moment ago; try again",
        )
    return SeedBlock(number=number, hash=found["hash"].removeprefix("0x"))
