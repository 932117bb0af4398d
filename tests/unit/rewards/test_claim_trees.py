# SPDX-License-Identifier: Apache-2.0
"""Merkle trees of claims against vectors of @openzeppelin/merkle-tree."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from eth_abi.abi import encode
from eth_utils.crypto import keccak
from hypothesis import given
from hypothesis import strategies as st

from dao.errors import RecordError
from rewards.merkle import EMPTY_ROOT, Leaf, leaf_hash, proof, tree_root, verify

ROOT = Path(__file__).resolve().parents[3]
VECTORS = json.loads(Path(__file__).with_name("merkle_vectors.json").read_text())["trees"]

LEAVES = st.lists(
    st.builds(
        Leaf,
        task_id=st.integers(0, 2**256 - 1),
        account=st.binary(min_size=20, max_size=20).map(lambda raw: "0x" + raw.hex()),
        amount=st.integers(0, 2**256 - 1),
        place=st.none() | st.integers(0, 255),
    ),
    min_size=1,
    max_size=20,
    unique=True,
)


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: f"{len(vector['leaves'])} leaves")
def test_roots_and_proofs_are_openzeppelins(vector) -> None:
    leaves = [Leaf(int(task), account, int(amount)) for task, account, amount in vector["leaves"]]
    assert tree_root(leaves) == vector["root"]
    for index, way in enumerate(vector["proofs"]):
        assert list(proof(leaves, index)) == way
        assert verify(vector["root"], leaves[index], way)


@pytest.mark.parametrize("number", range(4))
def test_payouts_with_places_are_openzeppelins(number: int) -> None:
    """The trees against which the contract is tested."""
    vectors = json.loads((ROOT / "contracts/test/merkle.json").read_text())
    tree = vectors["trees"][number]
    rows = zip(tree["accounts"], tree["amounts"], strict=True)
    leaves = [
        Leaf(int(vectors["taskId"]), account, int(amount), place)
        for place, (account, amount) in enumerate(rows)
    ]
    assert tree_root(leaves) == tree["payouts"]["root"]
    for index, way in enumerate(tree["payouts"]["proofs"]):
        assert list(proof(leaves, index)) == way


@given(LEAVES)
def test_every_leaf_is_proved_and_order_does_not_matter(leaves: list[Leaf]) -> None:
    root = tree_root(leaves)
    assert tree_root(leaves[::-1]) == root
    assert all(verify(root, leaf, proof(leaves, i)) for i, leaf in enumerate(leaves))


@given(LEAVES)
def test_a_changed_claim_is_not_proved(leaves: list[Leaf]) -> None:
    root = tree_root(leaves)
    first = leaves[0]
    way = proof(leaves, 0)
    for other in (
        first._replace(amount=first.amount ^ 1),
        first._replace(task_id=first.task_id ^ 1),
        first._replace(account="0x" + f"{int(first.account, 16) ^ 1:040x}"),
        first._replace(place=0 if first.place is None else first.place ^ 1),
    ):
        assert not verify(root, other, way)


def test_a_leaf_is_the_double_hash_of_the_abi_encoding() -> None:
    leaf = Leaf(3, "0x" + "ab" * 20, 5)
    encoded = encode(["uint256", "address", "uint256"], list(leaf[:3]))
    assert leaf_hash(leaf) == keccak(keccak(encoded))
    payout = leaf._replace(place=200)
    encoded = encode(["uint256", "address", "uint256", "uint256"], list(payout))
    assert leaf_hash(payout) == keccak(keccak(encoded))


def test_nobody_has_a_claim_on_the_empty_root() -> None:
    assert tree_root([]) == EMPTY_ROOT
    assert not verify(EMPTY_ROOT, Leaf(1, "0x" + "00" * 20, 0), ())


@pytest.mark.parametrize(
    "leaf",
    [
        Leaf(-1, "0x" + "00" * 20, 0),
        Leaf(0, "0x" + "00" * 19, 0),
        Leaf(0, "0x" + "00" * 20, 1 << 256),
        Leaf(0, "0x" + "00" * 20, 1, 256),
    ],
)
def test_what_is_no_claim_is_refused(leaf: Leaf) -> None:
    with pytest.raises(RecordError, match="not a claim"):
        leaf_hash(leaf)
