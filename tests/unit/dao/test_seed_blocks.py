# SPDX-License-Identifier: Apache-2.0
"""Which block seeds a stretch, and when it may be used."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, cast

import pytest

from dao.chain import Block
from dao.contracts.task_ledger import TaskLedger
from dao.errors import ChainError
from dao.records import SeedBlock
from dao.rpc import RpcRefusal
from dao.seed_blocks import FINAL_DEPTH, final_block, seed_blocks


@dataclass
class Node:
    """A chain of so many blocks; `finalized` None: it does not know the word."""

    latest: int
    finalized: int | None = None
    code: int = -32602
    chain_id: int = 1
    shown_url: str = "http://node"

    def block(self) -> Block:
        return Block(self.latest, 0, base_fee_wei=0, gas_limit=0)

    def request(self, method: str, tag: str, full: bool) -> Any:
        assert (method, full) == ("eth_getBlockByNumber", False)
        if tag == "finalized":
            if self.finalized is None:
                raise RpcRefusal("unknown block tag", data=None, code=self.code)
            return {"number": hex(self.finalized)}
        number = int(tag, 16)
        return {"hash": "0x" + hash_of(number)} if number <= self.latest else None


@dataclass
class Ledger:
    """Where each checkpoint of task 3 was committed."""

    chain: Node
    committed: dict[int, int] = field(default_factory=dict)

    def checkpoint_blocks(self, task_id: int, *, from_block: int) -> dict[int, int]:
        assert (task_id, from_block) == (3, 5)
        return self.committed


def hash_of(number: int) -> str:
    return f"{number:064x}"


def read(ledger: Ledger, *, checkpoints: int, until: int) -> tuple[SeedBlock, ...]:
    return seed_blocks(
        cast(TaskLedger, ledger), 3, checkpoints=checkpoints, from_block=5, until=until
    )


def test_each_checkpoint_has_the_block_right_after_its_own_as_far_as_it_is_final() -> None:
    ledger = Ledger(Node(latest=100), {1: 40, 0: 20, 2: 41})
    expected = tuple(SeedBlock(number=number, hash=hash_of(number)) for number in (21, 41, 42))
    assert read(ledger, checkpoints=3, until=100) == expected
    assert read(ledger, checkpoints=3, until=42) == expected
    assert read(ledger, checkpoints=3, until=41) == expected[:2]
    assert read(ledger, checkpoints=3, until=20) == ()
    assert read(ledger, checkpoints=1, until=100) == expected[:1]


def test_an_endpoint_that_hides_a_commitment_is_named() -> None:
    for hidden, committed in ((1, {0: 20, 2: 41}), (2, {0: 20, 1: 40})):
        with pytest.raises(ChainError, match=f"in which block checkpoint {hidden} of task 3"):
            read(Ledger(Node(latest=100), committed), checkpoints=3, until=100)


def test_an_endpoint_that_is_behind_is_named() -> None:
    with pytest.raises(ChainError, match="http://node has no block 21"):
        read(Ledger(Node(latest=20), {0: 20}), checkpoints=1, until=30)


def test_final_is_what_the_node_calls_so_or_deep_enough_and_on_a_devnet_the_latest() -> None:
    def final(node: Node) -> int:
        return final_block(cast(Any, node))

    assert final(Node(latest=100, finalized=36)) == 36
    assert final(Node(latest=100)) == 100 - FINAL_DEPTH
    assert final(Node(latest=10)) == 0
    assert final(Node(latest=100, finalized=36, chain_id=31337)) == 100
    with pytest.raises(RpcRefusal):  # too many requests: it may well know the word
        final(Node(latest=100, code=-32005))
