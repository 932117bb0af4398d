# SPDX-License-Identifier: Apache-2.0
"""What travels between coordinator and vault, as Flower records (docs/spec/flower.md).

Every message holds one ConfigRecord named `covalue`. The coordinator's side of the same format is
`fl_server/wire.py`; the two rooms do not import each other, and a test holds the formats equal.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from flwr.app import ConfigRecord, RecordDict

from fl_client.refusals import Code, Refused

RECORD = "covalue"
MAX_MODEL_BYTES = 256 << 20
"""A base model beyond this is refused before it is looked at."""
MAX_LIST_BYTES = 4 << 20
"""So is a list of receipts: this one holds some twenty thousand."""


@dataclass(frozen=True)
class TrainRequest:
    """A coordinator's wish for one update. Nothing in it can weaken the task that was approved:
    it names a task by id and digest, a round and the base model's bytes."""

    task_id: int
    task_digest: str
    round: int
    base: bytes


@dataclass(frozen=True)
class TrainAnswer:
    """All that leaves the vault for one round: canonical `Receipt` bytes, and once everybody's
    receipt is fixed the update."""

    receipt: bytes
    update: bytes


@dataclass(frozen=True)
class RevealRequest:
    """A wish for the update of a round whose receipts are fixed: `receipts` are the bytes of a
    `SignedReceiptList`."""

    task_id: int
    task_digest: str
    round: int
    receipts: bytes


@dataclass(frozen=True)
class CosignRequest:
    """A wish for a co-signature: `record` is the digest of a `Checkpoint`, or of a `ScoreReport`,
    which the vault fetches from the store by itself."""

    task_id: int
    task_digest: str
    kind: Literal["checkpoint", "final"]
    record: str


def read_train_request(content: RecordDict) -> TrainRequest:
    """Parse a `train` message; Refused(bad-request) otherwise."""
    return TrainRequest(*_of_round(content, "base", most=MAX_MODEL_BYTES))


def read_reveal_request(content: RecordDict) -> RevealRequest:
    """Parse a `query.reveal` message; Refused(bad-request) otherwise."""
    return RevealRequest(*_of_round(content, "receipts", most=MAX_LIST_BYTES))


def read_cosign_request(content: RecordDict) -> CosignRequest:
    """Parse a `query.cosign` message; Refused(bad-request) otherwise."""
    fields = _fields(content, {"task_id": int, "task_digest": str, "kind": str, "record": str})
    if fields["kind"] not in ("checkpoint", "final"):
        raise Refused(Code.BAD_REQUEST, "co-sign requests are for a checkpoint or the final report")
    return CosignRequest(
        task_id=fields["task_id"],  # type: ignore[arg-type]
        task_digest=_digest(fields["task_digest"]),
        kind="checkpoint" if fields["kind"] == "checkpoint" else "final",
        record=_digest(fields["record"]),
    )


def train_content(receipt: bytes) -> RecordDict:
    """The content of a reply to `train`."""
    return RecordDict({RECORD: ConfigRecord({"receipt": receipt})})


def reveal_content(*, account: str, update: bytes) -> RecordDict:
    """The content of a reply to `query.reveal`."""
    return RecordDict({RECORD: ConfigRecord({"account": account, "update": update})})


def cosign_content(*, account: str, signature: bytes) -> RecordDict:
    """The content of a reply to `query.cosign`; `signature` is 96 bytes."""
    return RecordDict({RECORD: ConfigRecord({"account": account, "signature": signature})})


def _of_round(content: RecordDict, payload: str, *, most: int) -> tuple[int, str, int, bytes]:
    """Task id, task digest, round, and a payload of at most so many bytes."""
    fields = _fields(content, {"task_id": int, "task_digest": str, "round": int, payload: bytes})
    task_id, number, data = fields["task_id"], fields["round"], fields[payload]
    assert isinstance(task_id, int)
    assert isinstance(number, int)
    assert isinstance(data, bytes)
    if task_id < 1 or number < 1 or len(data) > most:
        raise Refused(Code.BAD_REQUEST, f"task id, round or size of {payload!r} is out of range")
    return task_id, _digest(fields["task_digest"]), number, data


def _fields(content: RecordDict, expected: dict[str, type]) -> dict[str, object]:
    if set(content.keys()) != {RECORD} or not isinstance(content[RECORD], ConfigRecord):
        raise Refused(Code.BAD_REQUEST, f"expected one ConfigRecord named {RECORD!r}")
    record = content[RECORD]
    fields: dict[str, object] = dict(record.items())
    if set(fields) != set(expected):
        raise Refused(Code.BAD_REQUEST, f"expected the fields {sorted(expected)}")
    for name, kind in expected.items():
        if type(fields[name]) is not kind:
            raise Refused(Code.BAD_REQUEST, f"field {name} is not of type {kind.__name__}")
    return fields


def _digest(value: object) -> str:
    if not isinstance(value, str) or not re.fullmatch(r"[0-9a-f]{64}", value):
        raise Refused(Code.BAD_REQUEST, "a digest is 64 lower-case hex digits")
    return value
