# SPDX-License-Identifier: Apache-2.0
"""Merkle trees of claims, byte for byte those of OpenZeppelin's StandardMerkleTree.

A leaf is keccak256(keccak256(abi.encode(uint256 taskId, address account, uint256 amount))), for
payouts with a fourth word, the account's place in the roster: the chain remembers by it who was
paid, many in one slot. Leaves
are sorted by hash; a node is the keccak256 of its two children in ascending order, so a proof
needs no directions. Hashing twice keeps a node from passing as a leaf.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from eth_utils.crypto import keccak

from dao.errors import RecordError

EMPTY_ROOT = "0x" + "00" * 32
"""Root where nobody has a claim: no proof leads to it."""


class Leaf(NamedTuple):
    """One claim: `account` (lower-case 0x address) may take `amount` of task `task_id`. A payout
    names its place in the roster, 0 to 255; a share names none."""

    task_id: int
    account: str
    amount: int
    place: int | None = None


def payout_leaves(
    task_id: int, roster: Sequence[str], payouts_wei: Sequence[int]
) -> tuple[Leaf, ...]:
    """Claims on the budget, in roster order, of those who are paid at all."""
    return tuple(
        Leaf(task_id=task_id, account=address, amount=amount, place=place)
        for place, (address, amount) in enumerate(zip(roster, payouts_wei, strict=True))
        if amount > 0
    )


def leaf_hash(leaf: Leaf) -> bytes:
    """32 bytes. RecordError where a number is no uint256, the place no uint8, or the account no
    address."""
    account = leaf.account.removeprefix("0x")
    fits = 0 <= leaf.task_id < 1 << 256 and 0 <= leaf.amount < 1 << 256
    fits = fits and (leaf.place is None or 0 <= leaf.place < 256)
    if not fits or len(account) != 40 or len(leaf.account) != 42:
        raise RecordError(f"{leaf} is not a claim: expected uint256, address, uint256, uint8")
    words = (
        leaf.task_id.to_bytes(32, "big")
        + bytes.fromhex(account).rjust(32, b"\x00")
        + leaf.amount.to_bytes(32, "big")
    )
    if leaf.place is not None:
        words += leaf.place.to_bytes(32, "big")
    return keccak(keccak(words))


def tree_root(leaves: Sequence[Leaf]) -> str:
    """0x and 64 hex digits; `EMPTY_ROOT` for no leaves. The order of the leaves does not matter."""
    if not leaves:
        return EMPTY_ROOT
    return "0x" + _tree([leaf_hash(leaf) for leaf in leaves])[0].hex()


def proof(leaves: Sequence[Leaf], index: int) -> tuple[str, ...]:
    """The hashes beside the way from leaf `index` to the root, leaf end first."""
    hashes = [leaf_hash(leaf) for leaf in leaves]
    tree = _tree(hashes)
    place = len(tree) - 1 - sorted(hashes).index(hashes[index])
    way = []
    while place > 0:
        sibling = place + 1 if place % 2 else place - 1
        way.append("0x" + tree[sibling].hex())
        place = (place - 1) // 2
    return tuple(way)


def verify(root: str, leaf: Leaf, way: Sequence[str]) -> bool:
    """Whether `way` leads from the leaf to `root`."""
    node = leaf_hash(leaf)
    for step in way:
        node = _pair(node, bytes.fromhex(step.removeprefix("0x")))
    return "0x" + node.hex() == root


def _tree(hashes: Sequence[bytes]) -> list[bytes]:
    """Nodes in an array: children of i at 2i+1 and 2i+2, the smallest leaf last."""
    tree = [b""] * (2 * len(hashes) - 1)
    for index, leaf in enumerate(sorted(hashes)):
        tree[len(tree) - 1 - index] = leaf
    for index in range(len(hashes) - 2, -1, -1):
        tree[index] = _pair(tree[2 * index + 1], tree[2 * index + 2])
    return tree


def _pair(left: bytes, right: bytes) -> bytes:
    return keccak(min(left, right) + max(left, right))
