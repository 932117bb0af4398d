# SPDX-License-Identifier: Apache-2.0
"""Rounds: what contributors state, what the coordinator records, what the roster co-signs."""

from __future__ import annotations

import hashlib
from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from dao.canonical import (
    Address,
    Count,
    Digest,
    Hex,
    Positive,
    Record,
    SafeInt,
)
from dao.records.blob import BlobRef
from dao.records.task import Sampling


class Position(Record):
    """Where a statement belongs: a signature is good for one chain, contract, task and round."""

    chain_id: Count
    ledger: Address
    task_id: Positive
    task_digest: Digest
    round: Count


class DpEvent(Record):
    """What one update cost, apart from how it is accounted. `clip_norm` is how far one unit can
    move it (in a histogram 1), the noise's deviation is `noise_multiplier * clip_norm`; with
    `sampling` both are of one of its local steps."""

    mechanism: Literal["gaussian-full-batch", "gaussian-poisson", "gaussian-histogram"]
    clip_norm_nano: Positive
    noise_multiplier_micro: Positive
    sampling: Sampling | None
    seeded: bool
    """True where the noise came from a fixed seed (simulation and tests only)."""


class ReceiptBody(Record):
    """What a contributor states of one update."""

    kind: Literal["covalue.receipt/1"]
    position: Position
    contributor: Address
    base_model_sha256: Digest
    update: BlobRef
    event: DpEvent

    def signing_digest(self) -> bytes:
        """32 bytes: SHA-256 of the purpose and the canonical body."""
        return hashlib.sha256(b"covalue.receipt.v1\x00" + self.canonical()).digest()


class Receipt(Record):
    """A signed receipt; `signature` is BLS12-381 G2, compressed (96 bytes)."""

    body: ReceiptBody
    signature: Hex


class ListedReceipt(Record):
    """A contributor and the SHA-256 of its canonical receipt."""

    contributor: Address
    sha256: Digest

    @classmethod
    def of(cls, contributor: str, receipt: Receipt) -> ListedReceipt:
        """The entry of a receipt that came in this contributor's name."""
        return cls(contributor=contributor, sha256=receipt.digest())


class ReceiptList(Record):
    """The receipts of one round, in roster order, fixed before any update leaves its vault."""

    kind: Literal["covalue.receipts/1"]
    position: Position
    receipts: tuple[ListedReceipt, ...]


class SignedReceiptList(Record):
    """A list with the coordinator's EIP-712 signature (65 bytes) over its digest."""

    body: ReceiptList
    signature: Hex


ExclusionReason = Literal[
    "bad-signature",
    "wrong-position",
    "wrong-base",
    "wrong-shape",
    "out-of-range",
    "seeded-noise",
    "wrong-event",
    "norm",
    "copy",
    "late",
    "missing",
    "judged",
]


class Exclusion(Record):
    """Why a contributor's update does not count in this round."""

    contributor: Address
    reason: ExclusionReason
    detail: Annotated[str, StringConstraints(max_length=300)]
    receipt: Receipt | None


class Judgement(Record):
    """A contributor's cumulative score on the public rows (1e-12 of squared standardised error)."""

    contributor: Address
    score_pico: SafeInt


class NormClip(Record):
    """An update that was longer than others made plausible: the share of it that was heard."""

    contributor: Address
    kept_micro: Annotated[int, Field(strict=True, ge=0, lt=1_000_000)]


class RoundRecord(Record):
    """All that is needed to recompute one round. Receipts and clips stand in roster order."""

    kind: Literal["covalue.round/1"]
    position: Position
    previous_record: Digest
    """Digest of the record of the round before; of the task for round 1."""
    base_model: BlobRef
    receipts: tuple[Receipt, ...]
    exclusions: tuple[Exclusion, ...]
    norm_clips: tuple[NormClip, ...]
    judgements: tuple[Judgement, ...]
    judge_floor_pico: SafeInt | None
    model: BlobRef


class SignedRoundRecord(Record):
    """A round record with the coordinator's EIP-712 signature (65 bytes) over its digest."""

    record: RoundRecord
    signature: Hex


class Checkpoint(Record):
    """A stretch of rounds. Its digest is the root that the roster co-signs and the chain keeps:
    root of a Merkle DAG whose links are the signed records, and through them updates and models."""

    kind: Literal["covalue.checkpoint/1"]
    chain_id: Count
    ledger: Address
    task_id: Positive
    task_digest: Digest
    index: Count
    first_round: Positive
    last_round: Positive
    records: tuple[BlobRef, ...]
    """The SignedRoundRecord of every round, in order."""
    record_digests: tuple[Digest, ...]
    """The digest of every RoundRecord (without signature), in order."""
    model: BlobRef
