# SPDX-License-Identifier: Apache-2.0
"""What the verifier takes from the chain, and how it says that something differs."""

from __future__ import annotations

from dataclasses import dataclass


class Differs(Exception):
    """Something published is not what docs/SPEC.md makes of the rest; `place` names it."""

    def __init__(self, place: str, detail: str) -> None:
        super().__init__(f"{place}: {detail}")
        self.place = place


def must(condition: bool, place: str, detail: str) -> None:
    """Raise `Differs` unless the condition holds."""
    if not condition:
        raise Differs(place, detail)


@dataclass(frozen=True)
class Member:
    """One of the roster, in the order of the chain; the key is 48 bytes compressed."""

    account: str
    key: bytes


@dataclass(frozen=True)
class Cosigned:
    """What a commit was sent with: bit i of `signers` stands for roster[i]; the signature is a G2
    point of 256 bytes (EIP-2537)."""

    signers: int
    signature: bytes


@dataclass(frozen=True)
class Stretch:
    """A committed checkpoint; `seed` is number and hash of the block after the commitment's.
    `cosigned` None: the contract's check of it is taken on trust."""

    index: int
    first: int
    last: int
    root: str
    model: str
    seed: tuple[int, str]
    cosigned: Cosigned | None


@dataclass(frozen=True)
class Final:
    """The committed result; roots are 0x hex, the score digest is bare hex."""

    scores: str
    payout_root: str
    payout_total: int
    share_root: str
    epsilon_micro: int
    cosigned: Cosigned | None


@dataclass(frozen=True)
class Part:
    """An opened validation part."""

    index: int
    salt: str
    digest: str
    cid: str
    commitment: str


@dataclass(frozen=True)
class Chain:
    """One finalised task as the chain shows it; digests are bare lower-case hex."""

    chain_id: int
    ledger: str
    task_id: int
    task: str
    coordinator: str
    roster: tuple[Member, ...]
    stretches: tuple[Stretch, ...]
    final: Final
    parts: tuple[Part, ...]
