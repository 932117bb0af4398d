# SPDX-License-Identifier: Apache-2.0
"""Every type whose bytes are hashed, signed, stored or put on chain.

A record is frozen, refuses unknown fields and holds no floats: numbers are integers with
the unit in the name (`_micro` = 1e-6, `_nano` = 1e-9, `_wad` = 1e-18, `_wei` = 1e-18 token).
Integers that may pass 2**53 are decimal strings in JSON (RFC 8785 numbers are doubles).
The bytes of a record are its canonical JSON (RFC 8785); its digest is their SHA-256; since
records stay below one block (1 MiB), the CID follows from the digest (`dao.cid.of_digest`).
"""

from __future__ import annotations

from dao.records.blob import (
    BlobRef,
)
from dao.records.result import (
    Calibrated,
    ContributorResult,
    ModelCard,
    OpenedPart,
    RatioStudy,
    ScoreReport,
    SeedBlock,
    StretchScores,
    Valuation,
    ValuationBody,
)
from dao.records.round import (
    Checkpoint,
    DpEvent,
    Exclusion,
    ExclusionReason,
    Judgement,
    ListedReceipt,
    NormClip,
    Position,
    Receipt,
    ReceiptBody,
    ReceiptList,
    RoundRecord,
    SignedReceiptList,
    SignedRoundRecord,
)
from dao.records.task import (
    MAX_RULE_NUMBERS,
    AdamOptimiser,
    Aggregation,
    Calibration,
    CategoryFeature,
    DateFeature,
    Feature,
    LocationFeature,
    ModelSpec,
    NewtonOptimiser,
    NumberFeature,
    Optimiser,
    PrivacyPolicy,
    PrivacyUnit,
    RatioFeature,
    Sampling,
    Target,
    Task,
    Terms,
    ValidationPart,
)

__all__ = [
    "MAX_RULE_NUMBERS",
    "AdamOptimiser",
    "Aggregation",
    "BlobRef",
    "Calibrated",
    "Calibration",
    "CategoryFeature",
    "Checkpoint",
    "ContributorResult",
    "DateFeature",
    "DpEvent",
    "Exclusion",
    "ExclusionReason",
    "Feature",
    "Judgement",
    "ListedReceipt",
    "LocationFeature",
    "ModelCard",
    "ModelSpec",
    "NewtonOptimiser",
    "NormClip",
    "NumberFeature",
    "OpenedPart",
    "Optimiser",
    "Position",
    "PrivacyPolicy",
    "PrivacyUnit",
    "RatioFeature",
    "RatioStudy",
    "Receipt",
    "ReceiptBody",
    "ReceiptList",
    "RoundRecord",
    "Sampling",
    "ScoreReport",
    "SeedBlock",
    "SignedReceiptList",
    "SignedRoundRecord",
    "StretchScores",
    "Target",
    "Task",
    "Terms",
    "ValidationPart",
    "Valuation",
    "ValuationBody",
]
